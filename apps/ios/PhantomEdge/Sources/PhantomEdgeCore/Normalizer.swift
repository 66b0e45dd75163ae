import Foundation

/// What a tokenizer does to text before it looks at it: the steps of a `tokenizer.json`.
enum Normalizer: Sendable {
    case canonical  // NFC
    case prepend([Unicode.Scalar])
    case replace([Unicode.Scalar], with: [Unicode.Scalar])
    case replaceMatches(ScalarPattern, with: [Unicode.Scalar])
    case replaceEach(CharacterMap)

    /// The steps of `normalizer`, in order. Throws `PhantomEdgeError.bundle` for a step that is not known here.
    static func steps(_ json: Json?) throws -> [Normalizer] {
        guard let json else { return [] }
        var result: [Normalizer] = []
        for part in json["normalizers"]?.items ?? [json] {
            let more = part["normalizers"] == nil ? [try step(part)] : try steps(part)
            for next in more {
                // A character map comes as thousands of steps in a row: they are one.
                if case .replaceEach(let map) = next, case .replaceEach(var all)? = result.last {
                    result.removeLast()  // so that `all` is the only one, and grows in place
                    all.append(map)
                    result.append(.replaceEach(all))
                } else {
                    result.append(next)
                }
            }
        }
        return result
    }

    private static func step(_ json: Json) throws -> Normalizer {
        let kind = json["type"]?.string ?? "nothing"
        let new = Array((json["content"]?.string ?? "").unicodeScalars)
        switch (kind, json["pattern"]?["String"]?.string, json["pattern"]?["Regex"]?.string) {
        case ("NFC", _, _): return .canonical
        case ("Prepend", _, _): return .prepend(Array((json["prepend"]?.string ?? "").unicodeScalars))
        case ("Replace", let old?, _) where !old.isEmpty: return .replace(Array(old.unicodeScalars), with: new)
        case ("Replace", _, let source?):
            let pattern = try ScalarPattern(source)
            if let list = pattern.set?.list { return .replaceEach(CharacterMap(list, becomes: new)) }
            return .replaceMatches(pattern, with: new)
        default:
            throw PhantomEdgeError.bundle(
                "the tokenizer's normalizer has a \(kind) that is not known here: see the docs")
        }
    }

    /// Throws `PhantomEdgeError.input` for a text that would take forever.
    func apply(_ text: [Unicode.Scalar]) throws -> [Unicode.Scalar] {
        switch self {
        case .canonical:
            var string = String.UnicodeScalarView()
            string.append(contentsOf: text)
            return Array(String(string).precomposedStringWithCanonicalMapping.unicodeScalars)
        case .prepend(let start): return text.isEmpty ? text : start + text
        case .replace(let old, let new): return Self.replacing(text, old, new)
        case .replaceMatches(let pattern, let new): return try pattern.replacing(text, by: new)
        case .replaceEach(let map): return text.flatMap { map.expanded($0) }
        }
    }

    static func replacing(
        _ text: [Unicode.Scalar], _ old: [Unicode.Scalar], _ new: [Unicode.Scalar]
    ) -> [Unicode.Scalar] {
        guard text.contains(old[0]) else { return text }
        var (result, at): ([Unicode.Scalar], Int) = ([], 0)
        while at < text.count {
            if text[at] == old[0], text[at...].starts(with: old) {
                result += new
                at += old.count
            } else {
                result.append(text[at])
                at += 1
            }
        }
        return result
    }
}

/// Replacements of single characters, made one after the other: `[abc]` by a text, `[def]` by another, and so on.
struct CharacterMap: Sendable {
    private var steps = 1
    /// By character, the numbers of the steps that replace it, in order, and what by.
    private var changes: [Unicode.Scalar: [(step: Int, text: [Unicode.Scalar])]] = [:]

    /// One step.
    init(_ list: [Unicode.Scalar], becomes text: [Unicode.Scalar]) {
        for scalar in list { changes[scalar] = [(0, text)] }
    }

    /// Makes another map the steps that follow.
    mutating func append(_ other: CharacterMap) {
        for (scalar, more) in other.changes {
            changes[scalar, default: []] += more.map { ($0.step + steps, $0.text) }
        }
        steps += other.steps
    }

    /// What a character becomes, from a step on.
    func expanded(_ scalar: Unicode.Scalar, from step: Int = 0) -> [Unicode.Scalar] {
        guard let change = changes[scalar]?.first(where: { $0.step >= step }) else { return [scalar] }
        return change.text.flatMap { expanded($0, from: change.step + 1) }
    }
}
