import Foundation

/// The language that the app speaks now, such as `de`.
public var spokenLanguage: String { String((Bundle.main.preferredLocalizations.first ?? "en").prefix(2)) }

/// What the app says by itself, in the user's language: `Localizable.xcstrings` of the app has each sentence under its
/// English words. `%1$@`, `%2$@` and so on stand for `values`. Without a catalogue, as in tests, it is English.
public func localized(_ english: String, _ values: String...) -> String {
    var said = Bundle.main.localizedString(forKey: english, value: english, table: nil)
    for (number, value) in values.enumerated() {
        said = said.replacingOccurrences(of: "%\(number + 1)$@", with: value)
    }
    return said
}
