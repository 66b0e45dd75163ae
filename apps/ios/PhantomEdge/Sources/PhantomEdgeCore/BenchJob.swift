import Foundation

/// What a computer wants measured: `job.json`, beside the bundle's files.
struct BenchJob: Decodable {
    static let name = "job.json"
    static let limit = 1 << 20

    /// The settings of `phantom-edge bench`, as far as one process needs them; `soak` is in minutes.
    struct Settings: Decodable {
        let repeats: Int
        let warmup: Int
        let steps: Int
        let depths: [Int]
        let threads: Int?
        let soak: Double
        let clock: String

        /// Generated tokens that are not counted before each measured run of them.
        var warmSteps: Int { 4 * warmup }

        /// Depths at which warm-up and steps fit a context of so many tokens, each once and in order.
        func fitting(_ context: Int) -> [Int] {
            Set(depths).sorted().filter { $0 + warmSteps + steps <= context }
        }
    }

    let settings: Settings
    /// Whether the golden outputs are compared first.
    let check: Bool
    /// Whether a soak follows.
    let soak: Bool

    /// Throws `PhantomEdgeError.input` for a file that is missing, too large, incomplete or beyond the limits that the
    /// command line has.
    init(folder: URL) throws {
        let file = folder.appendingPathComponent(Self.name)
        guard let data = try? ModelBundle.read(file, limit: Self.limit),
            let job = try? JSONDecoder().decode(BenchJob.self, from: data)
        else { throw PhantomEdgeError.input("\(Self.name) is missing or no job: start it with `phantom-edge bench`") }
        self = job
        try settings.check(soak: soak)
    }
}

extension BenchJob.Settings {
    fileprivate func check(soak isSoaking: Bool) throws {
        let counts = [
            ("repeats", repeats, 1...1000), ("warmup", warmup, 0...100), ("steps", steps, 1...10_000),
            ("threads", threads ?? 1, 1...1024),
        ]
        for (name, value, range) in counts where !range.contains(value) {
            throw PhantomEdgeError.input(
                "the job's \(name) is \(value): use \(range.lowerBound) to \(range.upperBound)")
        }
        guard depths.count <= 1000, depths.allSatisfy({ (0...1 << 24).contains($0) }) else {
            throw PhantomEdgeError.input("the job's depths are no numbers of cached tokens")
        }
        guard soak >= 0, soak <= 24 * 60, !isSoaking || soak > 0 else {
            throw PhantomEdgeError.input("the job's soak is \(soak): use minutes up to \(24 * 60)")
        }
        guard clock == "wall" else { throw PhantomEdgeError.input("an app reads the clock on the wall only") }
    }
}
