import Foundation

/// The bytes that each token of a vocabulary adds to an answer, by id; a token without any is in no answer of a form.
///
/// Sorted, so that tokens with one beginning lie together and a walk over all of them reads each beginning once.
struct TokenBytes: Sendable {
    let pieces: [[UInt8]]
    /// The ids with bytes, in the order of these.
    let order: [Int]
    /// How many bytes each has in common with the one before it in `order`.
    let shared: [Int]
    let longest: Int

    init(_ pieces: [[UInt8]]) {
        self.pieces = pieces
        let order = pieces.indices.filter { !pieces[$0].isEmpty }
            .sorted { pieces[$0].lexicographicallyPrecedes(pieces[$1]) }
        self.order = order
        shared =
            order.isEmpty
            ? [] : [0] + zip(order, order.dropFirst()).map { zip(pieces[$0], pieces[$1]).prefix { $0 == $1 }.count }
        longest = pieces.map(\.count).max() ?? 0
    }
}

/// How far an answer is in its pattern.
struct FormPlace: Hashable {
    let state: FormAutomaton.State
    /// The bits so far of a character that is not complete, its length in bytes, and how many of them are missing.
    var bits = 0
    var length = 0
    var missing = 0
    /// Spaces at the very start that the decoder drops: they are no part of the answer.
    var dropped = 0
}

/// Which tokens may follow in an answer that is to match a pattern: those after which it can still become a match.
///
/// A token may end within a character. Masks are kept by the place in the pattern, from one answer to the next, also for
/// answers side by side.
final class TokenMasks: @unchecked Sendable {
    private static let mostMasks = 256
    private static let mostSpaces = 16
    private static let smallest = [0, 0, 0x80, 0x800, 0x10000]

    /// Where an answer begins: behind one space that is dropped, or any, or as many as stand before an answer with one.
    let start: FormPlace
    private let lock = NSLock()
    private let automaton: FormAutomaton
    private let tokens: TokenBytes
    private var masks: [FormPlace: [UInt64]] = [:]

    /// Throws `PhantomEdgeError.input` for a pattern that is refused.
    init(_ pattern: String, _ tokens: TokenBytes, dropped: Int = 0) throws {
        automaton = try FormAutomaton(pattern)
        self.tokens = tokens
        let isSpaced = automaton.step(automaton.start, 0x20) != nil && dropped <= Self.mostSpaces
        start = FormPlace(state: automaton.start, dropped: isSpaced ? dropped : min(dropped, 1))
    }

    /// Whether so much is kept that the next answer had better have masks of its own.
    var isLarge: Bool { lock.withLock { masks.count > Self.mostMasks } }

    /// Whether the answer may end here.
    func accepts(_ place: FormPlace) -> Bool { place.missing == 0 && place.state.accepts }

    /// Whether the answer may end here, and nothing else.
    func isComplete(_ place: FormPlace) -> Bool {
        accepts(place) && lock.withLock { !automaton.leadsOn(place.state, 0...FormSyntax.largestCode) }
    }

    /// The place after a token; nil when no match begins so.
    func advance(_ place: FormPlace, _ token: Int) -> FormPlace? {
        lock.withLock {
            var place = place
            guard !tokens.pieces[token].isEmpty else { return nil }
            for byte in tokens.pieces[token] {
                guard let next = step(place, byte) else { return nil }
                place = next
            }
            return place
        }
    }

    /// A bit for each id: whether it may follow.
    func mask(_ place: FormPlace) -> [UInt64] {
        lock.withLock {
            if let mask = masks[place] { return mask }
            let mask = walk(place)
            masks[place] = mask
            return mask
        }
    }

    private func walk(_ place: FormPlace) -> [UInt64] {
        var mask = [UInt64](repeating: 0, count: (tokens.pieces.count + 63) / 64)
        var places = [FormPlace](repeating: place, count: tokens.longest + 1)
        var depth = 0  // how many bytes of the token before this one led on
        // A token that shares more with the one before it begins as one that did not lead on.
        for (id, shared) in zip(tokens.order, tokens.shared) where shared <= depth {
            let bytes = tokens.pieces[id]
            depth = follow(bytes, from: shared, &places)
            if depth == bytes.count { mask[id >> 6] |= 1 << UInt64(id & 63) }
        }
        return mask
    }

    /// Goes on along a token from the place behind `depth` of its bytes: how many of them lead on.
    private func follow(_ bytes: [UInt8], from depth: Int, _ places: inout [FormPlace]) -> Int {
        for at in depth..<bytes.count {
            guard let next = step(places[at], bytes[at]) else { return at }
            places[at + 1] = next
        }
        return bytes.count
    }

    private func step(_ place: FormPlace, _ byte: UInt8) -> FormPlace? {
        if place.dropped > 0, byte == 0x20 {
            var next = place
            next.dropped -= 1
            return next
        }
        if place.missing > 0 {
            guard (0x80...0xBF).contains(byte) else { return nil }
            return begun(place.state, place.bits << 6 | Int(byte & 0x3F), place.length, place.missing - 1)
        }
        switch byte {
        case 0x00...0x7F: return automaton.step(place.state, Int(byte)).map { FormPlace(state: $0) }
        case 0xC2...0xDF: return begun(place.state, Int(byte & 0x1F), 2, 1)
        case 0xE0...0xEF: return begun(place.state, Int(byte & 0x0F), 3, 2)
        case 0xF0...0xF4: return begun(place.state, Int(byte & 0x07), 4, 3)
        default: return nil
        }
    }

    /// The place after the beginning of a character, or all of it; nil unless a character that leads on begins so.
    private func begun(_ state: FormAutomaton.State, _ bits: Int, _ length: Int, _ missing: Int) -> FormPlace? {
        guard let codes = codes(bits, length, missing) else { return nil }
        if missing > 0 {
            guard automaton.leadsOn(state, codes) else { return nil }
            return FormPlace(state: state, bits: bits, length: length, missing: missing)
        }
        return automaton.step(state, bits).map { FormPlace(state: $0) }
    }

    /// The characters that begin so: no overlong forms, no surrogates, nothing beyond U+10FFFF.
    private func codes(_ bits: Int, _ length: Int, _ missing: Int) -> ClosedRange<Int>? {
        var low = max(bits << (6 * missing), Self.smallest[length])
        var high = min((bits + 1) << (6 * missing) - 1, FormSyntax.largestCode)
        let surrogates = FormSyntax.surrogates
        if surrogates.contains(low) {
            low = surrogates.upperBound + 1
        } else if surrogates.contains(high) {
            high = surrogates.lowerBound - 1
        }
        return low <= high ? low...high : nil
    }
}
