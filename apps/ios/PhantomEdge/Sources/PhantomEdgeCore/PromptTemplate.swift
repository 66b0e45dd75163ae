import Foundation

/// What surrounds a question and an answer: no BOS, no system prompt, nothing after an end token.
public struct PromptTemplate: Codable, Equatable, Sendable {
    public let name: String
    public let userStart: String
    public let userEnd: String
    public let assistantStart: String
    public let assistantEnd: String
    public let imageStart: String
    public let imageContext: String
    public let imageEnd: String

    private enum CodingKeys: String, CodingKey {
        case name
        case userStart = "user_start"
        case userEnd = "user_end"
        case assistantStart = "assistant_start"
        case assistantEnd = "assistant_end"
        case imageStart = "image_start"
        case imageContext = "image_context"
        case imageEnd = "image_end"
    }

    /// What stands before the question, as far as it does not depend on it.
    ///
    /// `imageTokens` is the number of image tokens; nil asks without an image.
    public func opening(imageTokens: Int?) -> String {
        guard let imageTokens else { return userStart }
        return userStart + imageStart + String(repeating: imageContext, count: imageTokens) + imageEnd
    }

    /// The question and what makes the model answer: with `opening` in front of it the whole first prompt.
    ///
    /// Throws `PhantomEdgeError.input` for a question that holds one of the template's own markers.
    public func asking(_ question: String) throws -> String {
        try check(question)
        return question + userEnd + assistantStart
    }

    /// What follows a generated answer when another question is asked. It begins with the end token.
    ///
    /// Throws `PhantomEdgeError.input` as `asking` does.
    public func next(_ question: String) throws -> String {
        try assistantEnd + userStart + asking(question)
    }

    /// The markers `<…>` of this template, each once.
    public var markers: [String] {
        var names: [String] = []
        for part in [userStart, userEnd, assistantStart, assistantEnd] { names += Self.markers(in: part) }
        names += [imageStart, imageContext, imageEnd]
        return names.enumerated().filter { names.firstIndex(of: $1) == $0 }.map(\.element)
    }

    // These strings become control tokens: text that holds one could end its turn, or claim a row of the image.
    private func check(_ question: String) throws {
        let scalars = Array(question.unicodeScalars)
        for marker in markers + ["<image>"] where scalars.contains(Array(marker.unicodeScalars)) {
            throw Self.reserved(marker)
        }
    }

    /// What a user is told whose question would become a control token.
    static func reserved(_ token: String) -> PhantomEdgeError {
        .input("the question holds \(token), which is reserved for the prompt: remove it")
    }

    /// Whether a whole token is written as a marker is.
    static func isMarker(_ text: String) -> Bool { markers(in: text).first.map { Array($0.utf8) } == Array(text.utf8) }

    /// `<` and `>` with something between them that holds neither of the two nor white space.
    private static func markers(in text: String) -> [String] {
        var (names, open): ([String], String?) = ([], nil)
        for character in text.unicodeScalars {
            if character == "<" {
                open = "<"
            } else if character == ">", let start = open, start != "<" {
                names.append(start + ">")
                open = nil
            } else if character == ">" || character.properties.isWhitespace {
                open = nil
            } else {
                open?.unicodeScalars.append(character)
            }
        }
        return names
    }
}
