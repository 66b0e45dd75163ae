/// Thompson's construction: nodes that take a character of a set and go on, and forks that take none and go on in two
/// ways. `accept` ends a match.
struct FormNodes {
    static let accept: Int32 = 0
    private static let fork: Int32 = -1

    /// The different sets of code points.
    private(set) var sets: [[ClosedRange<Int>]] = []
    private(set) var start = FormNodes.accept
    private var setNumbers: [[ClosedRange<Int>]: Int32] = [:]
    private var kinds: [Int32] = []
    private var nexts: [Int32] = []
    private var others: [Int32] = []
    private var live: [Bool] = []

    init(_ syntax: FormSyntax) {
        _ = add(Self.fork, Self.accept, Self.accept)  // the accepting node, which goes nowhere
        start = link(syntax, Self.accept)
        live = reachingTheEnd()
    }

    var count: Int { kinds.count }

    func isFork(_ node: Int32) -> Bool { node != Self.accept && kinds[Int(node)] == Self.fork }

    func set(of node: Int32) -> Int { Int(kinds[Int(node)]) }

    func next(of node: Int32) -> Int32 { nexts[Int(node)] }

    func other(of node: Int32) -> Int32 { others[Int(node)] }

    /// Whether a match can end from here.
    func isLive(_ node: Int32) -> Bool { live[Int(node)] }

    private mutating func add(_ kind: Int32, _ next: Int32, _ other: Int32) -> Int32 {
        kinds.append(kind)
        nexts.append(next)
        others.append(other)
        return Int32(kinds.count - 1)
    }

    /// Nodes for `syntax` in front of `next`: the first of them.
    private mutating func link(_ syntax: FormSyntax, _ next: Int32) -> Int32 {
        switch syntax {
        case .empty: return next
        case .one(let ranges): return add(number(of: ranges), next, next)
        case .all(let parts): return parts.reversed().reduce(next) { link($1, $0) }
        case .either(let ways):
            return ways.dropLast().reversed().reduce(link(ways[ways.count - 1], next)) { rest, way in
                add(Self.fork, link(way, next), rest)
            }
        case .several(let part, let least, let most):
            var first = next
            if most == FormSyntax.withoutEnd {
                first = add(Self.fork, next, next)
                let inner = link(part, first)
                nexts[Int(first)] = inner
            } else {
                for _ in 0..<(most - least) { first = add(Self.fork, link(part, first), next) }
            }
            for _ in 0..<least { first = link(part, first) }
            return first
        }
    }

    private mutating func number(of ranges: [ClosedRange<Int>]) -> Int32 {
        if let known = setNumbers[ranges] { return known }
        sets.append(ranges)
        setNumbers[ranges] = Int32(sets.count - 1)
        return Int32(sets.count - 1)
    }

    /// Backwards from the end, over everything but sets that hold no character.
    private func reachingTheEnd() -> [Bool] {
        var before = [[Int32]](repeating: [], count: count)
        for node in 1..<max(count, 1) {
            if kinds[node] != Self.fork, sets[Int(kinds[node])].isEmpty { continue }
            before[Int(nexts[node])].append(Int32(node))
            if others[node] != nexts[node] { before[Int(others[node])].append(Int32(node)) }
        }
        var (reaching, waiting) = ([Bool](repeating: false, count: count), [Self.accept])
        while let node = waiting.popLast() {
            guard !reaching[Int(node)] else { continue }
            reaching[Int(node)] = true
            waiting += before[Int(node)]
        }
        return reaching
    }
}

/// Code points that no set of a pattern tells apart are one class: few classes, however many code points.
struct FormAlphabet {
    /// How many classes there are.
    let count: Int
    /// Where a stretch of one class begins.
    private let starts: [Int]
    private let classes: [Int]
    private let holding: [[Bool]]
    private let ascii: [Int]  // most characters are of these

    init(_ sets: [[ClosedRange<Int>]]) {
        let edges = sets.joined().flatMap { [$0.lowerBound, $0.upperBound + 1] } + [0]
        starts = Set(edges).filter { $0 <= FormSyntax.largestCode }.sorted()
        var members = [[Int]](repeating: [], count: starts.count)
        for (number, ranges) in sets.enumerated() {
            for range in ranges {
                let places = Self.place(of: range.lowerBound, starts)...Self.place(of: range.upperBound, starts)
                for place in places { members[place].append(number) }
            }
        }
        var numbers: [[Int]: Int] = [:]
        classes = members.map { sets in
            let number = numbers[sets] ?? numbers.count
            numbers[sets] = number
            return number
        }
        count = numbers.count
        let (starts, classes) = (starts, classes)
        ascii = (0..<0x80).map { classes[Self.place(of: $0, starts)] }
        var holding = [[Bool]](repeating: [Bool](repeating: false, count: numbers.count), count: sets.count)
        for (sets, number) in numbers { for set in sets { holding[set][number] = true } }
        self.holding = holding
    }

    func kind(of code: Int) -> Int { code < ascii.count ? ascii[code] : classes[Self.place(of: code, starts)] }

    func kinds(of codes: ClosedRange<Int>) -> ArraySlice<Int> {
        classes[Self.place(of: codes.lowerBound, starts)...Self.place(of: codes.upperBound, starts)]
    }

    func holds(_ set: Int, _ kind: Int) -> Bool { holding[set][kind] }

    /// The last stretch that begins at or before a code point.
    private static func place(of code: Int, _ starts: [Int]) -> Int {
        var (low, high) = (0, starts.count)
        while high - low > 1 {
            let middle = (low + high) / 2
            if starts[middle] <= code { low = middle } else { high = middle }
        }
        return low
    }
}
