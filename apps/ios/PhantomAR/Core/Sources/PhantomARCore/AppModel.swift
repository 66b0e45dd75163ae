import Observation
import PhantomEdge

/// The app without its screen: model, source, loop, and everything that the views show.
@MainActor @Observable public final class AppModel: LoopHost {
    public enum Stage: String, Sendable { case loading, ready, looking, answering, paused, stopped }
    public enum Tone: String, Sendable { case busy, live, calm, bad }

    public struct Pill: Equatable, Sendable {
        public let words: String
        public let tone: Tone
    }

    /// What a failure is about: it goes when that is mended, and the model's is not hidden by the camera's.
    public enum Subject: Sendable { case model, source, question }

    public struct Notice: Equatable, Sendable {
        public let subject: Subject
        public let failure: Failure
    }

    public let config: AppConfig
    public private(set) var stage = Stage.loading
    public private(set) var pill = Pill(words: localized("Loading"), tone: .busy)
    public private(set) var loading: LoadingStep? = LoadingStep(localized("Loading the model"), part: 0)
    public private(set) var notice: Notice?
    public private(set) var label = LabelText()
    public private(set) var question: String
    /// How much of the picture around the pin the model looks at.
    public private(set) var reach: Reach
    /// The same, or what it will be once the fingers that choose it rest.
    public private(set) var shownReach: Reach
    /// The last answer to each question about the picture or place of now.
    public private(set) var answers: [String: Verdict] = [:]
    public private(set) var speed = Speed()
    /// Bytes that the app takes; 0 while unknown.
    public private(set) var memory = 0
    public private(set) var isPaused = false
    public private(set) var sourceKind: SourceKind?
    public private(set) var info: ModelInfo?
    public private(set) var checks: [CheckRow] = []
    public private(set) var isTesting = false
    /// What a screen reader is to say; the same words twice in a row are said once.
    public private(set) var announcement = ""
    public var maxTokens: Int
    /// Side in pixels of the tiles that the model looks with; nil until it is loaded.
    public private(set) var tileSize: Int?

    public var isReady: Bool { engine != nil }
    /// How finely the model may look; none where there is no choice.
    public var details: [PictureDetail] { PictureDetail.all(of: info?.tileSizes ?? []) }
    public var canPause: Bool { isReady && source != nil && sourceKind != .picture }

    @ObservationIgnored private var source: (any PictureSource)?
    private var engine: (any Engine)?
    @ObservationIgnored private lazy var loop = AnswerLoop(host: self)
    @ObservationIgnored private let load: EngineLoader
    @ObservationIgnored private let conditions: any DeviceConditions
    @ObservationIgnored private let tileSizes: TileSizeStore
    @ObservationIgnored private let measureMemory: @MainActor () -> Int
    @ObservationIgnored private var isAway = false

    public init(
        config: AppConfig, conditions: any DeviceConditions, tileSizes: TileSizeStore = .none,
        memory: @escaping @MainActor () -> Int = { 0 }, load: @escaping EngineLoader
    ) {
        (self.config, self.conditions, self.tileSizes) = (config, conditions, tileSizes)
        (measureMemory, self.load) = (memory, load)
        (question, maxTokens) = (config.presets[0].question, config.longestAnswer)
        let start = Reach(size: config.crop)
        (reach, shownReach) = (start, start)
    }

    /// What is shown of a question: the label that it has in the app's settings, or itself.
    public func shown(_ question: String) -> String { config.shown(question, in: spokenLanguage) }

    // MARK: Model

    /// Loads the model; again after a failure.
    public func loadModel() async {
        dismiss(.model)
        engine = nil
        (stage, loading) = (.loading, LoadingStep(localized("Loading the model"), part: 0))
        do {
            let loaded = try await load { [weak self] step in self?.progress(step) }
            tileSize = try await tileSize(of: loaded)
            engine = loaded
        } catch {
            fail(.model, Failure(error))
            return
        }
        (loading, info) = (nil, engine?.info)
        memory = measureMemory()
        say(localized("The model is ready."))
        begin()
    }

    /// The size that the engine looks with: as the user chose it before, where this model has it.
    private func tileSize(of engine: any Engine) async throws -> Int? {
        let sizes = engine.info.tileSizes
        guard let remembered = tileSize ?? tileSizes.read(), sizes.contains(remembered) else { return sizes.first }
        try await engine.useTiles(of: remembered)
        return remembered
    }

    /// Looks with tiles of another of the model's sizes, now and at the next start.
    public func choose(tileSize size: Int) async {
        guard let engine, size != tileSize, !isTesting else { return }
        tileSize = size
        tileSizes.write(size)
        loop.pause()
        await loop.settled()
        guard size == tileSize else { return }  // another one has been chosen since
        do {
            try await engine.useTiles(of: size)
        } catch {
            return fail(.model, Failure(error))
        }
        forget()
        begin()
    }

    /// Runs the bundle's recorded answers on this device.
    public func selfTest() async {
        guard let engine, !isTesting else { return }
        loop.pause()
        (isTesting, checks) = (true, [])
        await loop.settled()
        do {
            checks = try await engine.selfTest()
        } catch {
            let reason = Failure(error).message
            checks = [CheckRow(name: localized("Self-test"), measured: reason, limit: "", passed: false)]
        }
        isTesting = false
        begin()
    }

    private func progress(_ step: LoadingStep) {
        guard engine == nil else { return }
        loading = step
        let share = "\(Int(100 * step.part)) %"
        pill = Pill(words: step.part < 1 ? localized("Loading %1$@", share) : localized("Preparing"), tone: .busy)
    }

    // MARK: Source

    /// Another source takes the place of the one before.
    public func use(_ source: (any PictureSource)?) {
        if let before = self.source, before !== source { before.close() }
        (self.source, sourceKind) = (source, source?.kind)
        source?.reach = reach
        isPaused = false
        forget()
        if source == nil {
            loop.pause()
        } else {
            dismiss(.source)
            begin()
        }
    }

    public func sourceFailed(_ failure: Failure) {
        use(nil)
        fail(.source, failure)
    }

    /// The pin has moved: the old answers were about another place.
    public func aimed() {
        forget()
        if isPaused { hold(false) }
        begin()
    }

    /// Looks at more or less around the pin from now on, or at the whole picture. While fingers still move, only what is
    /// shown follows.
    public func look(at reach: Reach, isSettled: Bool = true) {
        shownReach = reach
        guard isSettled, reach != self.reach else { return }
        self.reach = reach
        source?.reach = reach
        aimed()
    }

    // MARK: What the user does

    public func choose(_ question: String) {
        let line = question.split(whereSeparator: \.isNewline).joined(separator: " ")
        guard !line.allSatisfy(\.isWhitespace) else { return }
        self.question = line
        begin()
    }

    /// All presets, one after the other, about one picture.
    public func askAll() {
        guard isReady, source != nil else { return }
        if canPause { hold(true) }
        loop.ask(config.presets.map(\.question))
    }

    public func togglePause() {
        guard canPause else { return }
        hold(!isPaused)
        say(isPaused ? localized("Paused. The picture is held.") : localized("Resumed."))
        if isPaused { loop.pause() } else { begin() }
    }

    public func closeNotice() { notice = nil }

    /// The app goes to the background, or comes back.
    public func setAway(_ away: Bool) {
        guard away != isAway else { return }
        isAway = away
        if away { loop.pause() } else { begin() }
    }

    /// The system asks for memory.
    public func memoryWarning() async { await engine?.trim() }

    private func hold(_ isPaused: Bool) {
        self.isPaused = isPaused
        if isPaused { source?.freeze() } else { source?.thaw() }
    }

    /// Starts, or starts again with what is chosen now.
    private func begin() {
        guard isReady, source != nil, !isAway, !isTesting else { return }
        if isPaused || sourceKind == .picture { loop.ask([question]) } else { loop.startLive(question) }
    }

    private func forget() {
        answers = [:]
        label = LabelText()
    }

    private func dismiss(_ subject: Subject) {
        if notice?.subject == subject { notice = nil }
    }

    private func say(_ words: String) { announcement = words }

    private func fail(_ subject: Subject, _ failure: Failure) {
        if subject == .model {
            engine = nil
            loop.pause()
        }
        if subject != .question {
            stage = .stopped
            pill = Pill(words: subject == .model ? localized("Stopped") : localized("No camera"), tone: .bad)
        }
        loading = subject == .model ? nil : loading
        if notice?.subject == .model && subject != .model { return }
        notice = Notice(subject: subject, failure: failure)
        say("\(failure.title). \(failure.message)")
    }

    // MARK: LoopHost

    public var rest: Duration? {
        let level = conditions.thermal
        let rest = CoolDown.rest(at: level)
        if rest == nil, let words = CoolDown.words(at: level) { pill = Pill(words: words, tone: .busy) }
        return rest
    }

    public func grab() async throws -> Frame? {
        let frame = try await source?.grab()
        if frame == nil, let hint = source?.hint { pill = Pill(words: hint, tone: .calm) }
        return frame
    }

    public func answer(_ frame: Frame, _ question: String) async throws -> Answer {
        guard let engine else { throw CancellationError() }
        let job = Running()
        // A callback may still be on its way when the job is cancelled, and must not speak for the next one.
        defer { job.isOver = true }
        let form = config.form(of: question)
        return try await engine.ask(frame, question, form: form, maxTokens: maxTokens) { [weak self] text, speed in
            if !job.isOver { self?.heard(text, speed) }
        }
    }

    public func willAsk(_ question: String, about frame: Frame) {
        dismiss(.question)
        stage = .looking
        pill = Pill(words: CoolDown.words(at: conditions.thermal) ?? localized("Looking"), tone: .live)
        label.begin(shown(question), about: frame)
        source?.show(label)
    }

    private func heard(_ text: String, _ speed: Speed) {
        stage = .answering
        pill = Pill(words: CoolDown.words(at: conditions.thermal) ?? localized("Answering"), tone: .live)
        self.speed = speed
        label.stream(text)
        source?.show(label)
    }

    public func didAnswer(_ question: String, _ answer: Answer) {
        (speed, memory) = (answer.speed, measureMemory())
        let verdict = Verdict(answer, leastConfidence: config.leastConfidence)
        let isKnown = verdict.saysAlso(answers[question])
        label.finish(verdict)
        answers[question] = verdict
        source?.show(label)
        if !isKnown { say("\(shown(question)) \(verdict.spoken)") }
    }

    public func didFail(_ failure: Failure) {
        switch failure.code {
        case .question: fail(.question, failure)
        case .picture, .noCamera, .cameraBusy, .cameraRefused, .ar: sourceFailed(failure)
        default: fail(.model, failure)
        }
    }

    public func didIdle() {
        guard isReady, source != nil else { return }
        stage = .paused
        pill = Pill(words: sourceKind == .picture ? localized("Picture") : localized("Paused"), tone: .calm)
    }
}

@MainActor private final class Running {
    var isOver = false
}
