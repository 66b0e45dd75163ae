import Foundation

/// One process of `phantom-edge bench`: loads the bundle in `folder`, compares its golden outputs, times it as
/// `job.json` there says, and tells what it does and finds as lines of JSON.
///
/// Rows, warm-up and order are those of the Python package (`phantom_edge/bench/measure.py`), so that numbers of all
/// devices can be laid side by side.
public struct Benchmark: Sendable {
    private static let window = 2.0  // seconds of generating per point of a soak's curve, at least
    private static let soakPoints = 200.0  // of a long soak
    private static let soakTokens = 256  // generated per answer while soaking, then the prompt again, as in use
    private static let leastCharge = 5000.0  // microampere hours: gauges count in steps of about a thousand

    private static let noMemory = "the system does not say how much memory an app has had at most"

    private let folder: URL
    private let scratch: URL
    private let platform: any BenchPlatform
    private let tell: @Sendable (String) -> Void
    private let clock = ContinuousClock()

    /// `scratch` is a folder for a temporary picture; `tell` hears each line, without its end.
    public init(
        folder: URL, scratch: URL, platform: any BenchPlatform, tell: @escaping @Sendable (String) -> Void
    ) {
        (self.folder, self.scratch, self.platform, self.tell) = (folder, scratch, platform, tell)
    }

    /// Measures, and tells the run, or what went wrong, as the last line.
    public func run() async {
        do {
            tell(BenchLine.run(try await measured()).json)
        } catch {
            tell(BenchLine.failure(error).json)
        }
    }

    private func step(_ text: String) { tell(BenchLine.step(text).json) }

    private func measured() async throws -> BenchRun {
        let job = try BenchJob(folder: folder)
        var run = BenchRun()
        step("loading")
        // The computer has compared the files with their digests; its job lies among them.
        let bundle = try ModelBundle(folder: folder, verify: false)
        try PhantomSession.checkMemory(for: bundle, platform.conditions)
        let golden = try Golden(file: bundle.golden(of: bundle.manifest.tileSizes[0]))
        let session = try await loaded(bundle, job, &run)
        (run.runtime, run.notes) = (platform.runtime, platform.notes)
        run.runtime["threads"] = job.settings.threads.map(BenchFact.whole) ?? .text("the runtime's choice")
        let task = try BenchTask(session, golden: golden, scratch: scratch, platform: platform)
        defer { try? FileManager.default.removeItem(at: task.picture) }
        run.model = [
            "tiles": .whole(task.tileCount), "prompt_tokens": .whole(task.ids.count),
            "tile_size": .whole(session.tile.size), "context": .whole(bundle.manifest.context),
        ]
        if job.check {
            step("checking the golden outputs")
            run.conditions["golden"] = try await task.check(session, golden: golden, platform: platform)
        }
        try await measure(session, task, job.settings, &run)
        run.add("memory", platform.peakMemory(), otherwise: Self.noMemory)
        if job.soak { try await soak(session, task, minutes: job.settings.soak, &run) }
        return run
    }

    private func loaded(_ bundle: ModelBundle, _ job: BenchJob, _ run: inout BenchRun) async throws -> PhantomSession {
        run.add("libraries", platform.peakMemory(), otherwise: Self.noMemory)
        if job.check { try await platform.install(bundle) }
        let start = clock.now
        let backend = try await platform.backend(bundle, threads: job.settings.threads)
        // Never a pause: a warm device's own speed is what is measured, and its heat is reported.
        let session = try PhantomSession(
            bundle: bundle, backend: backend, conditions: platform.conditions, pacing: .unpaced)
        run.add("load", seconds(since: start))
        return session
    }

    /// The rows of one process: the first token with its parts, and decoding at every depth.
    private func measure(
        _ session: PhantomSession, _ task: BenchTask, _ settings: BenchJob.Settings, _ run: inout BenchRun
    ) async throws {
        var warmest = platform.conditions.thermal
        let total = settings.warmup + settings.repeats
        for n in 0..<total {
            step("first token, \(n + 1) of \(total)")
            let parts = try await firstToken(session, task)
            if n >= settings.warmup { for (row, seconds) in parts { run.add(row, seconds) } }
            warmest = max(warmest, platform.conditions.thermal)
        }
        for depth in settings.fitting(session.manifest.context) {
            step("decoding at \(depth) cached tokens")
            for seconds in try await decodeSteps(session, depth, settings) { run.add("decode@\(depth)", 1 / seconds) }
            warmest = max(warmest, platform.conditions.thermal)
        }
        run.conditions["warmest"] = .text("\(warmest)")
        if warmest >= .serious {
            run.notes.append(
                "the device said that it was hot (\(warmest)) while it was timed: let it cool, measure again")
        }
    }

    /// Seconds until the first token is chosen, and of its three parts. The cache is made before the clock starts.
    private func firstToken(_ session: PhantomSession, _ task: BenchTask) async throws -> [String: Double] {
        let cache = try await session.backend.makeCache()
        var greedy = Sampling.greedy.chooser()
        let start = clock.now
        let tiles = try task.pixels(platform)
        let prepared = clock.now
        var rows: [Float] = []
        for tile in tiles { rows += try await session.backend.encode(tile: tile) }
        let seen = clock.now
        _ = greedy.choose(try await session.prefill(task.ids, at: 0, cache: cache, image: rows))
        let chosen = clock.now
        return [
            "first_token": seconds(start, chosen), "preprocess": seconds(start, prepared),
            "vision": seconds(prepared, seen), "prefill": seconds(seen, chosen),
        ]
    }

    /// Seconds of each generated token (embedding, decoder, greedy choice) after `depth` cached ones.
    private func decodeSteps(
        _ session: PhantomSession, _ depth: Int, _ settings: BenchJob.Settings
    ) async throws -> [Double] {
        let cache = try await session.backend.makeCache()
        let ids = try BenchTask.filler(session, count: depth + 1)
        if depth > 0 { _ = try await session.prefill(Array(ids.dropLast()), at: 0, cache: cache) }
        var (token, greedy, durations) = (ids[depth], Sampling.greedy.chooser(), [Double]())
        for n in 0..<settings.warmSteps + settings.steps {
            let start = clock.now
            token = greedy.choose(try await session.prefill([token], at: depth + n, cache: cache))
            if n >= settings.warmSteps { durations.append(seconds(since: start)) }
        }
        return durations
    }

    /// Answers again and again for so many minutes: tokens per second, temperature and energy over time.
    private func soak(
        _ session: PhantomSession, _ task: BenchTask, minutes: Double, _ run: inout BenchRun
    ) async throws {
        let (begin, before) = (clock.now, platform.battery())
        let (window, end) = (max(Self.window, 60 * minutes / Self.soakPoints), 60 * minutes)
        var (points, warmth): ([[Double]], [[Double]]) = ([], [])
        var (tokens, total, busy) = (0, 0, 0.0)
        try await answers(session, task) { taken in
            (tokens, total, busy) = (tokens + 1, total + 1, busy + taken)
            let now = seconds(since: begin)
            if busy >= window || now >= end {
                points.append([now, Double(tokens) / busy])
                if let degrees = platform.temperature() { warmth.append([now, degrees]) }
                let (gone, speed) = (String(format: "%.1f", now / 60), String(format: "%.1f", Double(tokens) / busy))
                step("soaking, \(gone) of \(String(format: "%g", minutes)) minutes, \(speed) tok/s")
                (tokens, busy) = (0, 0)
            }
            return now < end
        }
        run.curves["soak"] = points
        if !warmth.isEmpty { run.curves["temperature"] = warmth }
        run.conditions["thermal, after the soak"] = .text("\(platform.conditions.thermal)")
        energy(before, platform.battery(), tokens: total, &run)
    }

    /// Generates endless answers to the same prompt; `heard` gets the seconds of each token and says whether to go on.
    private func answers(
        _ session: PhantomSession, _ task: BenchTask, isolation: isolated (any Actor)? = #isolation,
        heard: (Double) -> Bool
    ) async throws {
        var (rows, greedy) = ([Float](), Sampling.greedy.chooser())
        for tile in try task.pixels(platform) { rows += try await session.backend.encode(tile: tile) }
        let room = min(Self.soakTokens, session.manifest.context - task.ids.count)
        guard room > 0 else { throw PhantomEdgeError.input("the golden prompt fills the context: no room for a soak") }
        while true {
            let cache = try await session.backend.makeCache()
            var token = greedy.choose(try await session.prefill(task.ids, at: 0, cache: cache, image: rows))
            for n in 0..<room {
                let start = clock.now
                token = greedy.choose(try await session.prefill([token], at: task.ids.count + n, cache: cache))
                guard heard(seconds(since: start)) else { return }
            }
        }
    }

    /// Joules per generated token from the charge that left the battery, prefill included.
    private func energy(_ before: BenchBattery?, _ after: BenchBattery?, tokens: Int, _ run: inout BenchRun) {
        guard let before, let after else {
            run.missing["energy"] = "this device does not tell what left its battery"
            return
        }
        if before.powered || after.powered {
            run.missing["energy"] = "the device was charging; connect over Wi-Fi and unplug it"
        } else if before.charge - after.charge < Self.leastCharge {
            run.missing["energy"] = "less than 5 mAh left the battery, too little to count; use more --soak minutes"
        } else {
            let volts = (before.volts + after.volts) / 2
            let joules = (before.charge - after.charge) * 1e-6 * 3600 * volts
            run.add("energy", joules / Double(max(tokens, 1)))
            run.notes.append("energy is the whole device's over the soak: screen and prefill included")
        }
    }

    private func seconds(since start: ContinuousClock.Instant) -> Double { seconds(start, clock.now) }

    private func seconds(_ start: ContinuousClock.Instant, _ end: ContinuousClock.Instant) -> Double {
        (end - start) / .seconds(1)
    }
}
