import Foundation
import PhantomEdge

/// A question to choose from, and what its answer may be; nil for anything.
public struct Preset: Equatable, Sendable {
    public let question: String
    public let form: Form?

    public init(_ question: String, form: Form? = nil) { (self.question, self.form) = (question, form) }
}

/// `app.json`: what may be changed without touching the code. The web and Android apps read the same file.
public struct AppConfig: Equatable, Sendable {
    public static let mostPresets = 12
    static let fileLimit = 256 << 10

    public let title: String
    /// Questions to choose from; the first is asked when the app starts.
    public let presets: [Preset]
    /// Most tokens of an answer.
    public let longestAnswer: Int
    /// The least probability of an answer out of a list: below it the app says that it is not sure.
    public let leastConfidence: Double

    /// Throws a `Failure` that names what is wrong.
    public init(json: Data) throws {
        guard json.count <= Self.fileLimit else { throw Self.wrong("it is too large") }
        let fields: Fields
        do {
            fields = try JSONDecoder().decode(Fields.self, from: json)
        } catch let error as DecodingError {
            throw Self.wrong(error.complaint)
        }
        guard !fields.title.isEmpty else { throw Self.wrong("title must be text") }
        guard (1...Self.mostPresets).contains(fields.presets.count) else {
            throw Self.wrong("presets must be 1 to \(Self.mostPresets) questions")
        }
        guard fields.longestAnswer >= 1 else { throw Self.wrong("longestAnswer must be at least 1") }
        let least = fields.leastConfidence ?? 0.5
        guard (0...1).contains(least) else { throw Self.wrong("leastConfidence must be a number from 0 to 1") }
        presets = try fields.presets.enumerated().map { try Self.preset("presets: question \($0 + 1)", $1) }
        (title, longestAnswer, leastConfidence) = (fields.title, fields.longestAnswer, least)
    }

    /// The file of the app's own resources.
    public init(contentsOf file: URL?) throws {
        guard let file, let json = try? Data(contentsOf: file) else { throw Self.wrong("it is missing") }
        try self.init(json: json)
    }

    /// What the answer to a question may be; nil for anything.
    public func form(of question: String) -> Form? { presets.first { $0.question == question }?.form }

    private static func preset(_ place: String, _ fields: PresetFields) throws -> Preset {
        guard !fields.question.allSatisfy(\.isWhitespace) else { throw wrong("\(place) must be text") }
        do {
            switch (fields.choices, fields.regex) {
            case (nil, nil): return Preset(fields.question)
            case (let choices?, nil): return Preset(fields.question, form: try Form(choices: choices))
            case (nil, let regex?): return Preset(fields.question, form: try Form(regex: regex))
            default: throw wrong("\(place) has choices and a regex: give one of them")
            }
        } catch PhantomEdgeError.input(let reason) {
            throw wrong("\(place): \(reason)")
        }
    }

    private static func wrong(_ reason: String) -> Failure {
        Failure(.settings, "The app's settings (app.json) are not right: \(reason).")
    }
}

private struct Fields: Decodable {
    let title: String
    let presets: [PresetFields]
    let longestAnswer: Int
    let leastConfidence: Double?
}

/// A question is text, or an object of the question and the form of its answer.
private struct PresetFields: Decodable {
    let question: String
    let choices: [String]?
    let regex: String?

    private struct Key: CodingKey {
        let stringValue: String
        let intValue: Int? = nil

        init(_ name: String) { stringValue = name }
        init?(stringValue: String) { self.init(stringValue) }
        init?(intValue: Int) { nil }
    }

    init(from decoder: any Decoder) throws {
        if let question = try? decoder.singleValueContainer().decode(String.self) {
            (self.question, choices, regex) = (question, nil, nil)
            return
        }
        let fields = try decoder.container(keyedBy: Key.self)
        let names = ["question", "choices", "regex"]
        if let odd = fields.allKeys.first(where: { !names.contains($0.stringValue) }) {
            let text = "has \"\(odd.stringValue.prefix(40))\": it may have \(names.joined(separator: ", "))"
            throw DecodingError.dataCorruptedError(forKey: odd, in: fields, debugDescription: text)
        }
        question = try fields.decode(String.self, forKey: Key("question"))
        choices = try fields.decodeIfPresent([String].self, forKey: Key("choices"))
        regex = try fields.decodeIfPresent(String.self, forKey: Key("regex"))
    }
}

extension DecodingError {
    /// Which field is wrong, and how.
    fileprivate var complaint: String {
        switch self {
        case .keyNotFound(let key, let context): return "\(Self.path(context.codingPath + [key])) is missing"
        case .valueNotFound(_, let context): return "\(Self.path(context.codingPath)) is missing"
        case .typeMismatch(_, let context): return "\(Self.path(context.codingPath)) is of another type"
        case .dataCorrupted(let context):
            guard !context.codingPath.isEmpty else { return "it is not JSON" }
            let isOurs = context.debugDescription.hasPrefix("has ")
            let path = Self.path(isOurs ? context.codingPath.dropLast() : context.codingPath)
            return isOurs ? "\(path) \(context.debugDescription)" : "\(path) is not a whole number"
        @unknown default: return "it is damaged"
        }
    }

    /// `presets: question 2: choices`.
    private static func path(_ keys: [any CodingKey]) -> String {
        keys.map { key in key.intValue.map { "question \($0 + 1)" } ?? key.stringValue }.joined(separator: ": ")
    }
}
