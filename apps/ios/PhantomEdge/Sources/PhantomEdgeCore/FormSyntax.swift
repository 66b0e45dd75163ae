/// The syntax of a regular expression that a whole answer matches, over code points: one dialect in every language of the
/// toolkit (`tests/support/form_vectors.json`).
indirect enum FormSyntax {
    /// No character.
    case empty
    /// One character of ranges that are sorted and apart.
    case one([ClosedRange<Int>])
    case all([FormSyntax])
    case either([FormSyntax])
    case several(FormSyntax, least: Int, most: Int)

    /// The most of a repetition that has no end.
    static let withoutEnd = Int.max
    static let largestCode = 0x10FFFF
    /// Halves of characters, which are none.
    static let surrogates = 0xD800...0xDFFF

    /// A repetition. That of a repetition is one where it leaves no number out: `(x{0,9}){0,9}` is `x{0,81}`.
    static func repeating(_ part: FormSyntax, least: Int, most: Int) -> FormSyntax {
        if most == 0 { return .empty }
        if least == 1, most == 1 { return part }
        guard case .several(let inner, let low, let high) = part else {
            return .several(part, least: least, most: most)
        }
        // From one more of the outer to the next no number may be left out; the first step is the widest.
        let isGapless = high == withoutEnd || high * least + 1 >= low * (least + 1)
        guard least == most || isGapless && (least > 0 || low <= 1) else {
            return .several(part, least: least, most: most)
        }
        let ends = most == withoutEnd || high == withoutEnd ? withoutEnd : most * high
        return .several(inner, least: least * low, most: ends)
    }

    /// The same code points as sorted ranges that are apart.
    static func joined(_ ranges: [ClosedRange<Int>]) -> [ClosedRange<Int>] {
        var joined: [ClosedRange<Int>] = []
        for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) {
            if let before = joined.last, range.lowerBound <= before.upperBound + 1 {
                joined[joined.count - 1] = before.lowerBound...max(before.upperBound, range.upperBound)
            } else {
                joined.append(range)
            }
        }
        return joined
    }

    /// All other characters.
    static func others(_ ranges: [ClosedRange<Int>]) -> [ClosedRange<Int>] {
        let without = joined(ranges + [surrogates])
        let starts = [0] + without.map { $0.upperBound + 1 }
        let ends = without.map { $0.lowerBound - 1 } + [largestCode]
        return zip(starts, ends).filter { $0 <= $1 }.map { $0...$1 }
    }
}
