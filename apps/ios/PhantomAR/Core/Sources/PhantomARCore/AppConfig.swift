import Foundation

/// `app.json`: what may be changed without touching the code. The web and Android apps read the same file.
public struct AppConfig: Decodable, Equatable, Sendable {
    public static let mostPresets = 12
    static let fileLimit = 64 << 10

    public let title: String
    /// Questions to choose from; the first is asked when the app starts.
    public let presets: [String]
    /// Most tokens of an answer.
    public let longestAnswer: Int

    /// Throws a `Failure` that names what is wrong.
    public init(json: Data) throws {
        guard json.count <= Self.fileLimit else { throw Self.wrong("it is too large") }
        do {
            self = try JSONDecoder().decode(AppConfig.self, from: json)
        } catch {
            throw Self.wrong("title, presets or longestAnswer is missing or of another type")
        }
        guard !title.isEmpty else { throw Self.wrong("title must be text") }
        let empty = presets.contains { $0.allSatisfy(\.isWhitespace) }
        guard (1...Self.mostPresets).contains(presets.count), !empty else {
            throw Self.wrong("presets must be 1 to \(Self.mostPresets) questions")
        }
        guard longestAnswer >= 1 else { throw Self.wrong("longestAnswer must be at least 1") }
    }

    /// The file of the app's own resources.
    public init(contentsOf file: URL?) throws {
        guard let file, let json = try? Data(contentsOf: file) else { throw Self.wrong("it is missing") }
        try self.init(json: json)
    }

    private static func wrong(_ reason: String) -> Failure {
        Failure(.settings, "The app's settings (app.json) are not right: \(reason).")
    }
}
