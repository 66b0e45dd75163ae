import PhantomEdge

/// A picture for the model. Frames are told apart by identity: several questions on one cost one look.
public struct Frame: Equatable, Sendable {
    public let id: Int
    public let image: RGBImage
    /// Of the picture, small, for whoever wants to see what the model saw.
    public let thumbnail: RGBImage

    @MainActor private static var count = 0

    @MainActor public init(_ image: RGBImage) {
        Self.count += 1
        (id, self.image, thumbnail) = (Self.count, image, image.thumbnail(most: 240))
    }

    public static func == (one: Frame, other: Frame) -> Bool { one.id == other.id }
}

extension RGBImage {
    /// Every so many pixels of it, so that neither side has more than `most`.
    func thumbnail(most: Int) -> RGBImage {
        let step = (max(width, height) + most - 1) / most
        guard step > 1, let small = try? every(step) else { return self }
        return small
    }

    private func every(_ step: Int) throws -> RGBImage {
        let (columns, rows) = (stride(from: 0, to: width, by: step), stride(from: 0, to: height, by: step))
        let places = rows.flatMap { y in columns.map { x in 3 * (y * width + x) } }
        let (across, down) = ((width + step - 1) / step, (height + step - 1) / step)
        return try RGBImage(width: across, height: down, pixels: places.flatMap { pixels[$0..<$0 + 3] })
    }
}

public struct LoadingStep: Equatable, Sendable {
    public let text: String
    /// From 0 to 1.
    public let part: Double

    public init(_ text: String, part: Double) { (self.text, self.part) = (text, part) }
}

public struct ModelInfo: Equatable, Sendable {
    /// Rows for the information panel, each with its name.
    public let facts: [Fact]

    public struct Fact: Equatable, Sendable {
        public let name: String
        public let value: String

        public init(_ name: String, _ value: String) { (self.name, self.value) = (name, value) }
    }

    /// Sides in pixels of the tiles that the model may look with, the one that it starts with first.
    public let tileSizes: [Int]

    public init(facts: [Fact], tileSizes: [Int] = []) { (self.facts, self.tileSizes) = (facts, tileSizes) }
}

/// Seconds and counts of an answer, whole or so far.
public struct Speed: Equatable, Sendable {
    /// From the question to the first piece of text.
    public var firstToken = 0.0
    /// Tokens a second after the first; 0 while unknown.
    public var rate = 0.0

    public init() {}
}

public struct Answer: Equatable, Sendable {
    public let text: String
    public let speed: Speed
    public let stop: StopReason
    /// Of a question's choices, the likeliest first, which is the text; empty for other questions.
    public let likelihoods: [Likelihood]
    /// The model's own probability of a free answer; nil for one that is long or cut.
    public let confidence: Double?

    public init(
        text: String, speed: Speed, stop: StopReason, likelihoods: [Likelihood] = [], confidence: Double? = nil
    ) {
        (self.text, self.speed, self.stop) = (text, speed, stop)
        (self.likelihoods, self.confidence) = (likelihoods, confidence)
    }
}

/// One row of the self-test.
public struct CheckRow: Equatable, Sendable {
    public let name: String
    public let measured: String
    public let limit: String
    public let passed: Bool

    public init(name: String, measured: String, limit: String, passed: Bool) {
        (self.name, self.measured, self.limit, self.passed) = (name, measured, limit, passed)
    }
}

/// Hears the whole text so far.
public typealias OnText = @MainActor @Sendable (String, Speed) -> Void

/// What answers questions about pictures: the model, or the stand-in that tests of the app use.
public protocol Engine: Sendable {
    var info: ModelInfo { get }

    /// Answers, calling back with the whole text so far. Cancelling the task ends it with `CancellationError`.
    ///
    /// `form` is what the answer may be, nil anything; of choices it is the likeliest, which comes at once with the
    /// likelihood of each.
    func ask(
        _ frame: Frame, _ question: String, form: Form?, maxTokens: Int, onText: @escaping OnText
    ) async throws -> Answer

    /// Looks with tiles of another of `info.tileSizes` from now on.
    func useTiles(of size: Int) async throws

    /// Runs the bundle's recorded inputs for that size and compares.
    func selfTest() async throws -> [CheckRow]

    /// The system asks for memory.
    func trim() async
}

/// Makes an engine, telling how far it is.
public typealias EngineLoader = @Sendable (@escaping OnStep) async throws -> any Engine
public typealias OnStep = @MainActor @Sendable (LoadingStep) -> Void
