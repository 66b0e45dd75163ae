/// Byte-pair encoding: the `model` of a `tokenizer.json`, with its vocabulary.
struct BytePairs: Sendable {
    private struct Merge {
        let rank: Int32
        let id: Int32
    }

    private let vocabulary: [[UInt8]: Int32]
    private let merges: [UInt64: Merge]
    private let bytes: [Int32?]  // the ids of <0x00> to <0xFF>, with byte fallback only
    private let unknown: Int32?
    private let fusesUnknown: Bool
    private let ignoresMerges: Bool

    /// Throws `PhantomEdgeError.bundle` for a model that is not byte-pair encoding, or not as it is known here.
    init(_ json: Json?) throws {
        guard let json, json["type"]?.string ?? "BPE" == "BPE", let members = json["vocab"]?.members else {
            throw PhantomEdgeError.bundle("the tokenizer is not byte-pair encoding: see the docs")
        }
        for odd in ["dropout", "continuing_subword_prefix", "end_of_word_suffix"] {
            if let value = json[odd], value != .text([]), value != .number(0) {
                throw PhantomEdgeError.bundle("the tokenizer has a \(odd), which is not known here: see the docs")
            }
        }
        var vocabulary = [[UInt8]: Int32](minimumCapacity: members.count)
        for member in members {
            guard let id = member.value.integer, id >= 0 else {
                throw PhantomEdgeError.bundle("the tokenizer's vocabulary is damaged: export the bundle again")
            }
            vocabulary[member.key] = Int32(id)
        }
        self.vocabulary = vocabulary
        merges = try Self.merges(json["merges"]?.items ?? [], vocabulary)
        let fallsBack = json["byte_fallback"]?.flag ?? false
        bytes = fallsBack ? (0...255).map { vocabulary[Self.byteToken($0)] } : []
        unknown = json["unk_token"]?.bytes.flatMap { vocabulary[$0] }
        fusesUnknown = json["fuse_unk"]?.flag ?? false
        ignoresMerges = json["ignore_merges"]?.flag ?? false
    }

    /// Every token's text in UTF-8 with its id.
    var tokens: [[UInt8]: Int32] { vocabulary }

    /// Ids of one word.
    func encode(_ word: [Unicode.Scalar]) -> [Int] {
        guard !word.isEmpty else { return [] }
        if ignoresMerges, let id = vocabulary[word.flatMap { Array(String($0).utf8) }] { return [Int(id)] }
        return merged(symbols(word)).map(Int.init)
    }

    /// An id per character, or per byte of one that has none.
    private func symbols(_ word: [Unicode.Scalar]) -> [Int32] {
        var result: [Int32] = []
        var waiting = false  // an unknown, held back because the next one may join it
        for scalar in word {
            let text = Array(String(scalar).utf8)
            if let id = vocabulary[text] {
                if waiting, let unknown { result.append(unknown) }
                waiting = false
                result.append(id)
            } else if !bytes.isEmpty, case let ids = text.compactMap({ bytes[Int($0)] }), ids.count == text.count {
                result += ids
            } else if let unknown {
                if waiting && !fusesUnknown { result.append(unknown) }
                waiting = true
            }
        }
        if waiting, let unknown { result.append(unknown) }
        return result
    }

    private struct Candidate {
        let rank: Int32
        let id: Int32
        let left: Int
        let right: Int
        let pair: UInt64
    }

    /// Joins the pair of the lowest rank, the leftmost of equals, until none is left.
    private func merged(_ symbols: [Int32]) -> [Int32] {
        guard symbols.count > 1 else { return symbols }
        var ids: [Int32?] = symbols
        var next = Array(1...symbols.count)
        var previous = Array(-1..<symbols.count - 1)
        var queue = Heap<Candidate> { ($0.rank, $0.left) < ($1.rank, $1.left) }
        func offer(_ left: Int) {
            guard left >= 0, next[left] < ids.count, let a = ids[left], let b = ids[next[left]] else { return }
            let pair = Self.pair(a, b)
            guard let merge = merges[pair] else { return }
            queue.push(Candidate(rank: merge.rank, id: merge.id, left: left, right: next[left], pair: pair))
        }
        for place in 0..<symbols.count - 1 { offer(place) }
        while let best = queue.pop() {
            guard let a = ids[best.left], next[best.left] == best.right, let b = ids[best.right],
                Self.pair(a, b) == best.pair
            else { continue }  // one of the two has been joined to another since
            (ids[best.left], ids[best.right]) = (best.id, nil)
            next[best.left] = next[best.right]
            if next[best.left] < ids.count { previous[next[best.left]] = best.left }
            offer(previous[best.left])
            offer(best.left)
        }
        return ids.compactMap { $0 }
    }

    private static func pair(_ a: Int32, _ b: Int32) -> UInt64 {
        UInt64(UInt32(bitPattern: a)) << 32 | UInt64(UInt32(bitPattern: b))
    }

    private static func byteToken(_ byte: Int) -> [UInt8] {
        let hex = String(byte, radix: 16, uppercase: true)
        return Array("<0x\(hex.count == 1 ? "0" : "")\(hex)>".utf8)
    }

    /// By pair of ids: `["a", "b"]`, or `"a b"` in older files.
    private static func merges(_ items: [Json], _ vocabulary: [[UInt8]: Int32]) throws -> [UInt64: Merge] {
        var result = [UInt64: Merge](minimumCapacity: items.count)
        for (rank, item) in items.enumerated() {
            let parts =
                item.items?.compactMap(\.bytes)
                ?? item.bytes?.split(separator: 0x20, omittingEmptySubsequences: false).map(Array.init) ?? []
            guard parts.count == 2, let a = vocabulary[parts[0]], let b = vocabulary[parts[1]],
                let both = vocabulary[parts[0] + parts[1]]
            else { throw PhantomEdgeError.bundle("the tokenizer's merges are damaged: export the bundle again") }
            result[pair(a, b)] = Merge(rank: Int32(rank), id: both)
        }
        return result
    }
}
