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
    /// Runs the golden file of `tile`'s size, which the export recorded, and judges it by the file's own limits: the picture to
    /// tiles, the recorded tiles to image tokens, the prompt with these, and the recorded answer token by token,
    /// whatever the device would choose, so that one tie does not count against all that follows it.
    public func selfTest() async throws -> SelfTest {
        let golden = try Golden(file: bundle.golden(of: tile))
        return try await selfTest(golden, pixels: policy().split(golden.image).flatMap(TilePolicy.planar))
    }

    /// With the tiles `pixels` that the device makes of the picture.
    func selfTest(_ golden: Golden, pixels: [Float]) async throws -> SelfTest {
        let size = 3 * tile.size * tile.size
        guard golden.pixels.count % size == 0, golden.ids.count + golden.tokens.count <= manifest.context else {
            throw PhantomEdgeError.bundle("golden.safetensors is not of this manifest: export the bundle again")
        }
        let starts = stride(from: 0, to: golden.pixels.count, by: size)
        let rows = try await encode(starts.lazy.map { Array(golden.pixels[$0..<$0 + size]) })
        let cache = try await backend.makeCache()
        var logits = [try await prefill(golden.ids, at: 0, cache: cache, image: rows)]
        for (place, token) in golden.tokens.dropLast().enumerated() {
            logits.append(try await prefill([token], at: golden.ids.count + place, cache: cache))
        }
        let computed = Golden.Computed(pixels: pixels, features: rows, logits: logits)
        return SelfTest(backend: backend.name, checks: golden.judge(computed))
    }
}
