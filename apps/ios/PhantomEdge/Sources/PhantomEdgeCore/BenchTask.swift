import Foundation

/// What is timed on every device: one picture as a file, so that preprocessing includes decoding it, and the prompt
/// about it. Both are the bundle's own golden input.
struct BenchTask {
    static let limit = 0.1
    static let seed: UInt64 = 0

    let picture: URL
    let ids: [Int]
    let tiles: TilePolicy
    let tileCount: Int

    /// Writes the golden picture below `scratch`.
    init(_ session: PhantomSession, golden: Golden, scratch: URL, platform: any BenchPlatform) throws {
        let settings = session.manifest.tiles
        tiles = TilePolicy(size: settings.size, max: settings.max, thumbnail: settings.thumbnail)
        tileCount = tiles.count(width: golden.image.width, height: golden.image.height)
        ids = golden.ids
        guard ids.count(where: { $0 == session.manifest.ids.image }) == tileCount * settings.tokens else {
            throw PhantomEdgeError.bundle("the golden prompt is not about the golden picture: export the bundle again")
        }
        picture = scratch.appendingPathComponent("phantom-bench-picture.png")
        try platform.write(golden.image, to: picture)
    }

    /// Pixels `[3, S, S]` of every tile of the picture's file.
    func pixels(_ platform: any BenchPlatform) throws -> [[Float]] {
        tiles.split(try platform.picture(picture)).map(TilePolicy.planar)
    }

    /// `count` ids to fill a cache with: the first token, then random ones, none that ends or holds an image.
    static func filler(_ session: PhantomSession, count: Int) throws -> [Int] {
        let (ids, vocabulary) = (session.manifest.ids, session.manifest.shape.vocabulary)
        guard count > 0 else { return [] }
        guard Set(ids.end + [ids.image]).count < vocabulary else {
            throw PhantomEdgeError.bundle("the bundle has no text tokens: export it again")
        }
        var (random, filled) = (SplitMix64(state: seed), [ids.first])
        while filled.count < count {
            let id = Int(random.next() % UInt64(vocabulary))
            if id != ids.image, !ids.end.contains(id) { filled.append(id) }
        }
        return filled
    }

    /// Runs the golden input and compares: relative errors of pixels, image tokens and logits, and how many tokens
    /// agree.
    ///
    /// Throws `PhantomEdgeError.runtime` when a difference is beyond `limit`: what is fast but wrong is not timed.
    /// Rounding activations to int8 costs a few hundredths; a wrong kernel, layout or weight gives about 1.
    func check(_ session: PhantomSession, golden: Golden, platform: any BenchPlatform) async throws -> BenchFact {
        let size = 3 * session.manifest.tiles.size * session.manifest.tiles.size
        guard golden.pixels.count == tileCount * size else {
            throw PhantomEdgeError.bundle("the golden pixels are not those of the picture: export the bundle again")
        }
        var differences = ["pixels": try Self.difference(pixels(platform).flatMap { $0 }, golden.pixels)]
        var rows: [Float] = []
        for start in stride(from: 0, to: golden.pixels.count, by: size) {
            rows += try await session.backend.encode(tile: Array(golden.pixels[start..<start + size]))
        }
        let cache = try await session.backend.makeCache()
        var logits = try await session.prefill(ids, at: 0, cache: cache, image: rows)
        differences["image tokens"] = try Self.difference(rows, golden.features)
        differences["prefill logits"] = try Self.difference(logits, golden.logits)
        var (same, greedy) = (0, Sampling.greedy.chooser())
        for (place, expected) in golden.tokens.enumerated() {
            let token = greedy.choose(logits)
            same += token == expected ? 1 : 0
            if place + 1 < golden.tokens.count {
                logits = try await session.prefill([token], at: ids.count + place, cache: cache)
            }
        }
        try Self.require(differences)
        let errors = differences.mapValues { BenchFact.number(($0 * 1e6).rounded() / 1e6) }
        return .group(errors.merging(["tokens": .text("\(same) of \(golden.tokens.count)")]) { first, _ in first })
    }

    private static func require(_ errors: [String: Double]) throws {
        for (name, value) in errors.sorted(by: { $0.key < $1.key }) where !(value <= limit) {
            let by = String(format: "%.2g", value)
            throw PhantomEdgeError.runtime(
                "the golden check failed: \(name) differ by \(by) of their size (limit \(limit)), so nothing was "
                    + "timed; run `phantom-edge verify` on the bundle")
        }
    }

    /// Root mean square of the difference over that of `expected`.
    private static func difference(_ values: [Float], _ expected: [Float]) throws -> Double {
        guard values.count == expected.count, !expected.isEmpty else {
            throw PhantomEdgeError.runtime(
                "the golden check failed: \(values.count) values where \(expected.count) are expected; export again")
        }
        var (apart, size) = (0.0, 0.0)
        for (a, b) in zip(values, expected) {
            apart += (Double(a) - Double(b)) * (Double(a) - Double(b))
            size += Double(b) * Double(b)
        }
        return (apart / Double(expected.count)).squareRoot() / max((size / Double(expected.count)).squareRoot(), 1e-12)
    }
}
