/// One character of a regular expression: `a`, `.`, `\s`, `\p{L}`, `[^\r\n\p{L}]`…
struct ScalarSet: Sendable {
    enum Member: Sendable {
        case range(ClosedRange<UInt32>)
        case space  // \s
        case notSpace  // \S
        case letter  // \p{L}
        case number  // \p{N}
        case any
    }

    var members: [Member] = []
    var isNegated = false
    /// `(?i:…)`: a member stands for its other cases too.
    var ignoresCase = false

    func contains(_ scalar: Unicode.Scalar) -> Bool {
        let isMember = holds(scalar) || ignoresCase && holds(Self.folded(scalar))
        return isMember != isNegated
    }

    private func holds(_ scalar: Unicode.Scalar) -> Bool {
        members.contains { member in
            switch member {
            case .range(let range): return range.contains(scalar.value)
            case .space: return Self.isSpace(scalar)
            case .notSpace: return !Self.isSpace(scalar)
            case .letter: return Self.isLetter(scalar)
            case .number: return Self.isNumber(scalar)
            case .any: return true
            }
        }
    }

    /// The members that are single characters, when the set is nothing but a list of them.
    var list: [Unicode.Scalar]? {
        guard !isNegated, !ignoresCase else { return nil }
        let single = members.compactMap { member -> Unicode.Scalar? in
            guard case .range(let range) = member, range.count == 1 else { return nil }
            return Unicode.Scalar(range.lowerBound)
        }
        return single.count == members.count ? single : nil
    }

    /// `\s`: Unicode's White_Space.
    static func isSpace(_ scalar: Unicode.Scalar) -> Bool { scalar.properties.isWhitespace }

    static func isLetter(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: return true
        default: return false
        }
    }

    static func isNumber(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .decimalNumber, .letterNumber, .otherNumber: return true
        default: return false
        }
    }

    /// The small letter that a character is another case of.
    static func folded(_ scalar: Unicode.Scalar) -> Unicode.Scalar {
        if scalar == "\u{17F}" { return "s" }  // the long s
        let small = scalar.properties.lowercaseMapping.unicodeScalars
        return small.count == 1 ? small.first ?? scalar : scalar
    }
}
