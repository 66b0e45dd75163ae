import Foundation
import PhantomEdge

/// A question to choose from, and what its answer may be; nil for anything.
public struct Preset: Equatable, Sendable {
    public let question: String
    public let form: Form?
    /// What is shown instead of the question; nil for the question itself.
    public let label: PresetLabel?

    public init(_ question: String, form: Form? = nil, label: PresetLabel? = nil) {
        (self.question, self.form, self.label) = (question, form, label)
    }

    /// What is shown of it in a language, such as `de`.
    public func shown(in language: String) -> String {
        switch label {
        case .all(let words): words
        case .byLanguage(let words): words[language] ?? question
        case nil: question
        }
    }
}

/// What is shown instead of a question: the same in every language, or by language.
public enum PresetLabel: Equatable, Sendable {
    case all(String)
    case byLanguage([String: String])
}

/// A colour of `app.json`, 0 to 255 each.
public struct Accent: Equatable, Sendable {
    public let red: Int
    public let green: Int
    public let blue: Int

    /// Nil for what is not `#rrggbb`.
    init?(_ text: String) {
        let digits = Array(text.utf8.dropFirst())
        guard text.utf8.first == UInt8(ascii: "#"), digits.count == 6 else { return nil }
        let values = digits.compactMap { Character(Unicode.Scalar($0)).hexDigitValue }
        guard values.count == 6 else { return nil }
        (red, green, blue) = (16 * values[0] + values[1], 16 * values[2] + values[3], 16 * values[4] + values[5])
    }

    /// Whether dark text is read better on it than white text: by its luminance, as WCAG 2 defines it.
    public var isLight: Bool {
        let linear = [red, green, blue].map { value in
            let part = Double(value) / 255
            return part <= 0.04045 ? part / 12.92 : pow((part + 0.055) / 1.055, 2.4)
        }
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] > 0.179
    }
}

/// `app.json`: what may be changed without touching the code. The web and Android apps read the same file; what is for
/// one of them alone (`languages`, `strings`) is left to it.
public struct AppConfig: Equatable, Sendable {
    public static let mostPresets = 12
    static let fileLimit = 256 << 10

    public let title: String
    /// Questions to choose from; the first is asked when the app starts.
    public let presets: [Preset]
    /// Most tokens of an answer.
    public let longestAnswer: Int
    /// The least probability of an answer: below it the app says that it is not sure.
    public let leastConfidence: Double
    /// The size that the square around the pin begins with, one of `Crop.sizes`.
    public let crop: Double
    public let sampling: Sampling
    /// Nil for the app's own.
    public let accent: Accent?

    /// Throws a `Failure` that names what is wrong.
    public init(json: Data) throws {
        guard json.count <= Self.fileLimit else { throw Self.wrong("it is too large") }
        let fields: ConfigFields
        do {
            fields = try JSONDecoder().decode(ConfigFields.self, from: json)
        } catch let error as DecodingError {
            throw Self.wrong(error.complaint)
        } catch PhantomEdgeError.input(let reason) {
            throw Self.wrong("sampling: \(reason)")
        }
        guard !fields.title.isEmpty else { throw Self.wrong("title must be text") }
        guard (1...Self.mostPresets).contains(fields.presets.count) else {
            throw Self.wrong("presets must be 1 to \(Self.mostPresets) questions")
        }
        guard fields.longestAnswer >= 1 else { throw Self.wrong("longestAnswer must be at least 1") }
        leastConfidence = try Self.number(fields.leastConfidence ?? 0.5, "leastConfidence", 0...1)
        crop = try Self.number(fields.crop ?? Crop.defaultSize, "crop", Crop.sizes)
        presets = try fields.presets.enumerated().map { try Self.preset("presets: question \($0 + 1)", $1) }
        accent = try Self.accent(fields.theme)
        (title, longestAnswer) = (fields.title, fields.longestAnswer)
        sampling = try fields.sampling ?? Sampling(temperature: 0, seed: 0)
    }

    /// The file of the app's own resources.
    public init(contentsOf file: URL?) throws {
        guard let file, let json = try? Data(contentsOf: file) else { throw Self.wrong("it is missing") }
        try self.init(json: json)
    }

    /// What the answer to a question may be; nil for anything.
    public func form(of question: String) -> Form? { presets.first { $0.question == question }?.form }

    /// What is shown of a question in a language, such as `de`: a preset's label, or the question itself.
    public func shown(_ question: String, in language: String) -> String {
        presets.first { $0.question == question }?.shown(in: language) ?? question
    }

    private static func number(_ value: Double, _ name: String, _ range: ClosedRange<Double>) throws -> Double {
        guard range.contains(value) else {
            let (least, most) = (range.lowerBound, range.upperBound)
            throw wrong("\(name) must be a number from \(least == 0 ? "0" : "\(least)") to \(Int(most))")
        }
        return value
    }

    private static func accent(_ theme: ThemeFields?) throws -> Accent? {
        let schemes = ["auto", "light", "dark"]
        guard theme?.scheme.map(schemes.contains) ?? true else {
            throw wrong("theme: scheme must be auto, light or dark")
        }
        guard let text = theme?.accent else { return nil }
        guard let accent = Accent(text) else { throw wrong("theme: accent must be a colour as #rrggbb") }
        return accent
    }

    private static func preset(_ place: String, _ fields: PresetFields) throws -> Preset {
        guard !fields.question.allSatisfy(\.isWhitespace) else { throw wrong("\(place) must be text") }
        let label = try label(place, fields.label)
        do {
            switch (fields.choices, fields.regex) {
            case (nil, nil): return Preset(fields.question, label: label)
            case (let choices?, nil): return Preset(fields.question, form: try Form(choices: choices), label: label)
            case (nil, let regex?): return Preset(fields.question, form: try Form(regex: regex), label: label)
            default: throw wrong("\(place) has choices and a regex: give one of them")
            }
        } catch PhantomEdgeError.input(let reason) {
            throw wrong("\(place): \(reason)")
        }
    }

    private static func label(_ place: String, _ label: PresetLabel?) throws -> PresetLabel? {
        func check(_ words: String, _ name: String) throws {
            guard !words.allSatisfy(\.isWhitespace), words.unicodeScalars.count <= ConfigFields.longestText else {
                throw wrong("\(place): \(name) must be text of 1 to \(ConfigFields.longestText) characters")
            }
        }
        switch label {
        case .all(let words): try check(words, "its label")
        case .byLanguage(let words):
            for (language, text) in words.sorted(by: { $0.key < $1.key }) {
                try check(text, "its label in \(language)")
            }
        case nil: break
        }
        return label
    }

    static func wrong(_ reason: String) -> Failure {
        Failure(.settings, "The app's settings (app.json) are not right: \(reason).")
    }
}
