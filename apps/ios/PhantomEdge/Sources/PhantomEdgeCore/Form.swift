/// What an answer may be: one of some choices, or a text that a regular expression matches as a whole.
///
/// The answer is then the likeliest step by step among those that fit. How likely each choice is, `Chat.rank` tells.
public struct Form: Hashable, Sendable {
    private static let mostChoices = 1_000
    private static let longestChoice = 200

    /// Nil for a regular expression.
    public let choices: [String]?
    /// Nil for choices.
    public let regex: String?

    /// 1 to 1,000 different texts of 1 to 200 characters. Throws `PhantomEdgeError.input` for others.
    public init(choices: [String]) throws {
        guard (1...Self.mostChoices).contains(choices.count) else {
            throw PhantomEdgeError.input("a form has \(choices.count) choices: give 1 to \(Self.mostChoices)")
        }
        guard choices.allSatisfy({ (1...Self.longestChoice).contains($0.unicodeScalars.count) }) else {
            throw PhantomEdgeError.input("a choice must be 1 to \(Self.longestChoice) characters")
        }
        // As bytes: two strings of one canonical form are two choices.
        guard Set(choices.map { Array($0.utf8) }).count == choices.count else {
            throw PhantomEdgeError.input("a choice is there twice: give different ones")
        }
        (self.choices, regex) = (choices, nil)
    }

    /// A regular expression of the toolkit's dialect: literals, `.`, classes such as `[a-z0-9_]`, `\d \w \s`, groups, `|`,
    /// `? * + {m,n}`. It takes time in proportion to the text, whatever it is. Throws `PhantomEdgeError.input` for another,
    /// naming what is not known.
    public init(regex: String) throws {
        _ = try FormAutomaton(regex)
        (choices, self.regex) = (nil, regex)
    }
}

/// A choice with the probability that it is the answer, given that one of the choices is.
public struct Likelihood: Equatable, Sendable {
    public let text: String
    public let probability: Double

    public init(text: String, probability: Double) { (self.text, self.probability) = (text, probability) }
}
