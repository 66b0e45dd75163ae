import Foundation

/// `golden.safetensors`: one picture, a prompt about it, what each stage must give for them, and how far off it may be.
///
/// The rule is that of the Python package (`phantom_edge/bundle/golden.py`, `docs/bundle.md`): a bundle passes or fails
/// by the same numbers wherever it runs.
struct Golden: Sendable {
    /// The most that a stage may be off, over the root mean square of what is expected; nil is not judged.
    private struct StageLimits {
        let rms: Double?
        let max: Double?
    }

    /// What a runtime makes of the golden inputs: its own tiles of the picture, its image tokens of the recorded tiles,
    /// and the logits after the prefill with these, then after each recorded token but the last.
    struct Computed {
        let pixels: [Float]
        let features: [Float]
        let logits: [[Float]]
    }

    private static let smallest = 1e-12
    private static let stages = ["pixel_values", "image_features", "prefill_logits"]
    private static let dimensions = [
        "image": 3, "pixel_values": 4, "image_features": 3, "input_ids": 2, "prefill_logits": 2, "generated_ids": 1,
    ]

    let image: RGBImage
    let pixels: [Float]
    let features: [Float]
    let ids: [Int]
    let logits: [Float]
    let tokens: [Int]
    private let limits: [String: StageLimits]
    private let tieLimit: Double

    /// Throws `PhantomEdgeError.bundle` for a file that is damaged or has other contents.
    init(file: URL) throws {
        let tensors = try Safetensors(file: file)
        for (name, count) in Self.dimensions where try tensors.shape(name).count != count {
            throw Self.damaged("\(name) has another shape")
        }
        if let other = tensors.names.first(where: { Self.dimensions[$0] == nil }) {
            throw Self.damaged("it has an unknown tensor \(other)")
        }
        let size = try tensors.shape("image")
        guard size[2] == 3 else { throw Self.damaged("image has another shape") }
        image = try RGBImage(width: size[1], height: size[0], pixels: tensors.bytes("image"))
        pixels = try tensors.floats("pixel_values")
        features = try tensors.floats("image_features")
        ids = try tensors.integers("input_ids")
        logits = try tensors.floats("prefill_logits")
        tokens = try tensors.integers("generated_ids")
        guard !ids.isEmpty, !tokens.isEmpty, (ids + tokens).allSatisfy(logits.indices.contains) else {
            throw Self.damaged("it has other ids")
        }
        guard let text = tensors.metadata["limits"] else { throw Self.damaged("it has no limits") }
        (limits, tieLimit) = try Self.limits(Json(text.utf8))
    }

    private static func damaged(_ what: String) -> PhantomEdgeError {
        .bundle("golden.safetensors: \(what): export the bundle again")
    }

    private static func limits(_ json: Json) throws -> ([String: StageLimits], Double) {
        let all = try members(json, stages + ["tie"])
        var limits: [String: StageLimits] = [:]
        for stage in stages {
            let stored = try members(all[stage] ?? .null, ["rms", "max"])
            limits[stage] = StageLimits(rms: try number(stored["rms"]), max: try number(stored["max"]))
        }
        guard let tie = try number(all["tie"]) else { throw damaged("it has no limit for ties") }
        return (limits, tie)
    }

    /// An object's members, which must be exactly those of `names`.
    private static func members(_ json: Json, _ names: [String]) throws -> [String: Json] {
        var members: [String: Json] = [:]
        for member in json.members ?? [] { members[String(decoding: member.key, as: UTF8.self)] = member.value }
        guard Set(members.keys) == Set(names) else { throw damaged("it has other limits") }
        return members
    }

    private static func number(_ json: Json?) throws -> Double? {
        switch json {
        case .null: return nil
        case .number(let value): return value
        default: throw damaged("a limit is no number")
        }
    }

    /// Every limit against what was computed.
    func judge(_ computed: Computed) -> [SelfTest.Check] {
        stage("pixel_values", computed.pixels, pixels) + stage("image_features", computed.features, features)
            + stage("prefill_logits", computed.logits.first ?? [], logits) + [tie(computed.logits)]
    }

    private func stage(_ name: String, _ values: [Float], _ expected: [Float]) -> [SelfTest.Check] {
        let (rms, largest) = Self.errors(values, expected)
        let detail = "over \(expected.count) values"
        let kinds = [("rms", rms, limits[name]?.rms), ("max", largest, limits[name]?.max)]
        return kinds.compactMap { kind, error, limit in
            limit.map { SelfTest.Check(name: "\(name).\(kind)", value: error, limit: $0, detail: detail) }
        }
    }

    /// How far a recorded token is from being the likeliest, at worst.
    private func tie(_ rows: [[Float]]) -> SelfTest.Check {
        var (worst, equal) = (0.0, 0)
        let fits =
            rows.count == tokens.count && rows.allSatisfy { $0.count == logits.count && $0.allSatisfy(\.isFinite) }
        let reference = Self.rms(logits)
        for (row, token) in zip(fits ? rows : [], tokens) {
            let gap = Double(row.max() ?? 0) - Double(row[token])
            worst = max(worst, gap / max(min(Self.rms(row), reference), Self.smallest))
            equal += gap == 0 ? 1 : 0
        }
        let detail = "\(equal) of \(tokens.count) tokens are the likeliest"
        return SelfTest.Check(
            name: "generated_ids.tie", value: fits ? worst : .infinity, limit: tieLimit, detail: detail)
    }

    /// Root mean square and largest difference over the root mean square of `expected`; infinite for another number of
    /// values, and for one that is not finite.
    private static func errors(_ values: [Float], _ expected: [Float]) -> (Double, Double) {
        guard values.count == expected.count, values.allSatisfy(\.isFinite) else { return (.infinity, .infinity) }
        var (sum, largest) = (0.0, 0.0)
        for (value, other) in zip(values, expected) {
            let gap = abs(Double(value) - Double(other))
            sum += gap * gap
            largest = max(largest, gap)
        }
        let size = max(rms(expected), smallest)
        return ((sum / Double(values.count)).squareRoot() / size, largest / size)
    }

    private static func rms(_ values: [Float]) -> Double {
        (values.reduce(0.0) { $0 + Double($1) * Double($1) } / Double(values.count)).squareRoot()
    }
}
