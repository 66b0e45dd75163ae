import Foundation

/// What one device makes of a bundle's recorded inputs, beside what they should give.
public struct SelfTest: Sendable {
    /// One stage: its error, the most that is right, and whether it is.
    public struct Check: Sendable {
        public let name: String
        public let value: Double
        public let limit: Double
        public let detail: String
        public var passed: Bool { value <= limit }
    }

    public let backend: String
    public let checks: [Check]
    public var passed: Bool { checks.allSatisfy(\.passed) }
}

extension SelfTest: CustomStringConvertible {
    public var description: String {
        let rows = checks.map { check in
            let (value, limit) = (String(format: "%.2g", check.value), String(format: "%.2g", check.limit))
            return "\(check.passed ? "ok  " : "FAIL") \(check.name): \(value) (limit \(limit)) \(check.detail)"
        }
        return (["self-test on \(backend): \(passed ? "passed" : "failed")"] + rows).joined(separator: "\n")
    }
}

extension PhantomSession {
    /// Runs `golden.safetensors`, which the export recorded: picture to tiles to image tokens, prefill, and cached
    /// decoding along the recorded answer. Errors are the largest difference over the root mean square of what is
    /// expected.
    ///
    /// `limit` for image tokens and logits follows from the format unless given: 0.03 for Core ML, where every result
    /// is rounded to float16, and 0.25 for ExecuTorch, whose activations are rounded to int8: there a value on the edge
    /// between two steps may fall to either side, and the layers carry that on.
    public func selfTest(limit: Double? = nil) async throws -> SelfTest {
        let golden = try Golden(bundle)
        let limit = limit ?? (manifest.format == "coreml" ? 0.03 : 0.25)
        let policy = TilePolicy(size: manifest.tiles.size, max: manifest.tiles.max, thumbnail: manifest.tiles.thumbnail)
        let tiles = policy.split(golden.image)
        let pixels = tiles.flatMap(TilePolicy.planar)
        let rows = try await encode(tiles)
        let cache = try await backend.makeCache()
        var logits = try await prefill(golden.ids, at: 0, cache: cache, image: rows)
        var checks = [
            check("pixels", pixels, golden.pixels, limit: 1e-6),
            check("image tokens", rows, golden.features, limit: limit),
            check("prefill logits", logits, golden.logits, limit: limit),
        ]
        var (equal, worst) = (0, 0.0)
        for (place, token) in golden.tokens.enumerated() {
            if place > 0 {
                let position = golden.ids.count + place - 1
                logits = try await prefill([golden.tokens[place - 1]], at: position, cache: cache)
            }
            guard logits.indices.contains(token) else { throw PhantomEdgeError.bundle("the golden file is damaged") }
            let gap = Double((logits.max() ?? 0) - logits[token]) / rms(logits)
            worst = max(worst, gap)
            equal += gap == 0 ? 1 : 0
        }
        // Two logits may each be off by the limit, so that two that are nearly equal change places.
        let detail = "\(equal) of \(golden.tokens.count) tokens are the likeliest"
        checks.append(SelfTest.Check(name: "answer", value: worst, limit: 2 * limit, detail: detail))
        return SelfTest(backend: backend.name, checks: checks)
    }

    private func check(_ name: String, _ values: [Float], _ expected: [Float], limit: Double) -> SelfTest.Check {
        guard values.count == expected.count else {
            let detail = "\(values.count) values, expected \(expected.count)"
            return SelfTest.Check(name: name, value: .infinity, limit: limit, detail: detail)
        }
        let largest = zip(values, expected).reduce(0.0) { max($0, abs(Double($1.0) - Double($1.1))) }
        let value = values.contains { !$0.isFinite } ? .infinity : largest / rms(expected)
        return SelfTest.Check(name: name, value: value, limit: limit, detail: "over \(values.count) values")
    }

    private func rms(_ values: [Float]) -> Double {
        let sum = values.reduce(0.0) { $0 + Double($1) * Double($1) }
        return max((sum / Double(max(values.count, 1))).squareRoot(), .leastNormalMagnitude)
    }
}

/// The recorded inputs and outputs.
struct Golden {
    let image: RGBImage
    let pixels: [Float]
    let features: [Float]
    let ids: [Int]
    let logits: [Float]
    let tokens: [Int]

    init(_ bundle: ModelBundle) throws {
        let file = try Safetensors(file: bundle.folder.appendingPathComponent(ModelBundle.goldenName))
        let shape = try file.shape("image")
        guard shape.count == 3, shape[2] == 3 else { throw PhantomEdgeError.bundle("the golden picture is damaged") }
        image = try RGBImage(width: shape[1], height: shape[0], pixels: file.bytes("image"))
        pixels = try file.floats("pixel_values")
        features = try file.floats("image_features")
        ids = try file.integers("input_ids")
        logits = try file.floats("prefill_logits")
        tokens = try file.integers("generated_ids")
        let room = bundle.manifest.context - tokens.count
        guard !ids.isEmpty, !tokens.isEmpty, ids.count <= room,
            (ids + tokens).allSatisfy({ (0..<bundle.manifest.shape.vocabulary).contains($0) })
        else { throw PhantomEdgeError.bundle("the golden file is damaged: export the bundle again") }
    }
}
