import Foundation

/// What is timed on every device: one picture as a file, so that preprocessing includes decoding it, and the prompt
/// about it. Both are the bundle's own golden input.
struct BenchTask {
    static let seed: UInt64 = 0

    let picture: URL
    let ids: [Int]
    let tiles: TilePolicy
    let tileCount: Int

    /// Writes the golden picture below `scratch`.
    init(_ session: PhantomSession, golden: Golden, scratch: URL, platform: any BenchPlatform) throws {
        tiles = session.policy()
        tileCount = tiles.count(width: golden.image.width, height: golden.image.height)
        ids = golden.ids
        guard ids.count(where: { $0 == session.manifest.ids.image }) == tileCount * session.tile.tokens else {
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

    /// Runs the bundle's own test on the picture's file: errors of image tokens and logits, and how many tokens are the
    /// likeliest.
    ///
    /// Throws `PhantomEdgeError.runtime` when one is beyond its limit: what is fast but wrong is not timed.
    func check(_ session: PhantomSession, golden: Golden, platform: any BenchPlatform) async throws -> BenchFact {
        let test = try await session.selfTest(golden, pixels: pixels(platform).flatMap { $0 })
        if let check = test.checks.first(where: { !$0.passed }) {
            throw PhantomEdgeError.runtime(
                "the golden check failed: \(check.name) is \(String(format: "%.2g", check.value)) (limit "
                    + "\(check.limit)), so nothing was timed; run `phantom-edge verify` on the bundle")
        }
        let checks = Dictionary(uniqueKeysWithValues: test.checks.map { ($0.name, $0) })
        func error(_ name: String) -> BenchFact { .number(((checks[name]?.value ?? 0) * 1e6).rounded() / 1e6) }
        let tokens = checks["generated_ids.tie"]?.detail.components(separatedBy: " tokens").first ?? ""
        return .group([
            "image tokens": error("image_features.rms"), "prefill logits": error("prefill_logits.rms"),
            "tokens": .text(tokens),
        ])
    }
}
