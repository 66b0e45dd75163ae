import PhantomEdge

/// The members of `app.json` as they stand there.
struct ConfigFields: Decodable {
    /// The languages of all three apps.
    static let languages = ["en", "de", "fr"]
    /// Characters of a label.
    static let longestText = 500

    let title: String
    let presets: [PresetFields]
    let longestAnswer: Int
    let leastConfidence: Double?
    let crop: Double?
    let theme: ThemeFields?
    let sampling: Sampling?

    init(from decoder: any Decoder) throws {
        let fields = try decoder.container(keyedBy: Name.self)
        try fields.allow([
            "title", "presets", "longestAnswer", "leastConfidence", "languages", "strings", "theme", "crop", "sampling",
        ])
        title = try fields.decode(String.self, forKey: Name("title"))
        presets = try fields.decode([PresetFields].self, forKey: Name("presets"))
        longestAnswer = try fields.decode(Int.self, forKey: Name("longestAnswer"))
        leastConfidence = try fields.decodeIfPresent(Double.self, forKey: Name("leastConfidence"))
        crop = try fields.decodeIfPresent(Double.self, forKey: Name("crop"))
        theme = try fields.decodeIfPresent(ThemeFields.self, forKey: Name("theme"))
        sampling = try fields.decodeIfPresent(SamplingFields.self, forKey: Name("sampling"))?.sampling
    }
}

struct ThemeFields: Decodable {
    let accent: String?
    let scheme: String?

    init(from decoder: any Decoder) throws {
        let fields = try decoder.container(keyedBy: Name.self)
        try fields.allow(["accent", "scheme"])
        accent = try fields.decodeIfPresent(String.self, forKey: Name("accent"))
        scheme = try fields.decodeIfPresent(String.self, forKey: Name("scheme"))
    }
}

/// What is not given is as usual: the likeliest token. A seed that is null is another one for each answer.
struct SamplingFields: Decodable {
    let sampling: Sampling

    init(from decoder: any Decoder) throws {
        let fields = try decoder.container(keyedBy: Name.self)
        try fields.allow(["temperature", "topP", "topK", "seed"])
        let drawsSeed = try fields.contains(Name("seed")) && fields.decodeNil(forKey: Name("seed"))
        sampling = try Sampling(
            temperature: try fields.decodeIfPresent(Double.self, forKey: Name("temperature")) ?? 0,
            topP: try fields.decodeIfPresent(Double.self, forKey: Name("topP")) ?? 1,
            topK: try Self.whole(fields, "topK"), seed: drawsSeed ? nil : UInt64(try Self.whole(fields, "seed")))
    }

    /// 0 or more. Foundation for Linux does not say which number it is that has a fraction.
    private static func whole(_ fields: KeyedDecodingContainer<Name>, _ name: String) throws -> Int {
        let value = try fields.decodeIfPresent(Double.self, forKey: Name(name)) ?? 0
        guard let whole = Int(exactly: value), whole >= 0 else {
            throw PhantomEdgeError.input("\(name) must be a whole number from 0")
        }
        return whole
    }
}

/// A question is text, or an object of the question, the form of its answer, and what is shown of it.
struct PresetFields: Decodable {
    let question: String
    let choices: [String]?
    let regex: String?
    let label: PresetLabel?

    init(from decoder: any Decoder) throws {
        if let question = try? decoder.singleValueContainer().decode(String.self) {
            (self.question, choices, regex, label) = (question, nil, nil, nil)
            return
        }
        let fields = try decoder.container(keyedBy: Name.self)
        try fields.allow(["question", "choices", "regex", "label"])
        question = try fields.decode(String.self, forKey: Name("question"))
        choices = try fields.decodeIfPresent([String].self, forKey: Name("choices"))
        regex = try fields.decodeIfPresent(String.self, forKey: Name("regex"))
        label = try Self.label(fields)
    }

    private static func label(_ fields: KeyedDecodingContainer<Name>) throws -> PresetLabel? {
        let name = Name("label", shown: "its label")
        guard fields.contains(name) else { return nil }
        if let words = try? fields.decode(String.self, forKey: name) { return .all(words) }
        let byLanguage = try fields.nestedContainer(keyedBy: Name.self, forKey: name)
        try byLanguage.allow(ConfigFields.languages)
        let pairs = try byLanguage.allKeys.map { ($0.stringValue, try byLanguage.decode(String.self, forKey: $0)) }
        return .byLanguage(Dictionary(uniqueKeysWithValues: pairs))
    }
}

/// The name of a member, and what a complaint calls it.
struct Name: CodingKey {
    let stringValue: String
    let shown: String
    let intValue: Int? = nil

    init(_ name: String, shown: String? = nil) { (stringValue, self.shown) = (name, shown ?? name) }
    init?(stringValue: String) { self.init(stringValue) }
    init?(intValue: Int) { nil }
}

extension KeyedDecodingContainer<Name> {
    /// Throws for a member of another name.
    func allow(_ names: [String]) throws {
        guard let odd = allKeys.first(where: { !names.contains($0.stringValue) }) else { return }
        let text = "has \"\(odd.stringValue.prefix(40))\": it may have \(names.joined(separator: ", "))"
        throw DecodingError.dataCorruptedError(forKey: odd, in: self, debugDescription: text)
    }
}

extension DecodingError {
    /// Which member is wrong, and how.
    var complaint: String {
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
        let names = keys.map { key in
            key.intValue.map { "question \($0 + 1)" } ?? (key as? Name)?.shown ?? key.stringValue
        }
        return names.isEmpty ? "it" : names.joined(separator: ": ")
    }
}
