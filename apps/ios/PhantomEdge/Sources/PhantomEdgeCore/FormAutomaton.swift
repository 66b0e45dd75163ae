/// A pattern as an automaton over code points: states are made when a text first reaches them, so that a text takes time
/// in proportion to its length, whatever the pattern.
///
/// Foundation's expressions backtrack without a bound, and cannot say whether a text may still become a match.
final class FormAutomaton {
    /// Where texts are that go on in the same ways.
    final class State: Hashable {
        fileprivate let nodes: [Int32]
        let accepts: Bool
        /// The state after a character of each class, as far as it is known; empty before the first.
        fileprivate var next: [Step] = []

        fileprivate init(_ nodes: [Int32], accepts: Bool) { (self.nodes, self.accepts) = (nodes, accepts) }

        static func == (one: State, other: State) -> Bool { one === other }
        func hash(into hasher: inout Hasher) { hasher.combine(ObjectIdentifier(self)) }
    }

    fileprivate enum Step {
        case unknown
        case nowhere
        case to(State)
    }

    /// The most numbers that the known states take together.
    private static let limit = 4_000_000

    /// Where a text begins.
    private(set) var start: State
    private let nodes: FormNodes
    private let alphabet: FormAlphabet
    private var known: [[Int32]: State] = [:]
    private var marks: [Int]
    private var mark = 0
    private var taken = 0

    /// Throws `PhantomEdgeError.input` for a pattern that is not of the dialect (`FormReader`), or that no text matches.
    init(_ pattern: String) throws {
        var reader = try FormReader(pattern)
        nodes = FormNodes(try reader.whole())
        alphabet = FormAlphabet(nodes.sets)
        marks = [Int](repeating: 0, count: nodes.count)
        start = State([], accepts: false)
        guard let first = state([nodes.start]) else {
            throw PhantomEdgeError.input("no text matches the form's regular expression: mend it")
        }
        start = first
    }

    deinit { forget() }  // states refer to each other

    /// The state after a code point; nil when no match begins so.
    func step(_ state: State, _ code: Int) -> State? { step(state, kind: alphabet.kind(of: code)) }

    /// Whether any code point of a range leads on.
    func leadsOn(_ state: State, _ codes: ClosedRange<Int>) -> Bool {
        alphabet.kinds(of: codes).contains { step(state, kind: $0) != nil }
    }

    private func step(_ from: State, kind: Int) -> State? {
        if from.next.isEmpty { from.next = [Step](repeating: .unknown, count: alphabet.count) }
        switch from.next[kind] {
        case .to(let after): return after
        case .nowhere: return nil
        case .unknown:
            let targets = from.nodes.filter { alphabet.holds(nodes.set(of: $0), kind) }.map(nodes.next)
            let after = state(targets)
            if from.next.isEmpty { from.next = [Step](repeating: .unknown, count: alphabet.count) }  // forgotten since
            from.next[kind] = after.map(Step.to) ?? .nowhere
            return after
        }
    }

    /// The state of everything that is reached from `targets` without a character; nil for nothing.
    private func state(_ targets: [Int32]) -> State? {
        let reached = closure(targets)
        guard let first = reached.first else { return nil }
        if let state = known[reached] { return state }
        taken += reached.count + alphabet.count
        if taken > Self.limit { forget() }
        let accepts = first == FormNodes.accept
        let made = State(accepts ? Array(reached.dropFirst()) : reached, accepts: accepts)
        known[reached] = made
        return made
    }

    /// A text may reach more states than there is room for: they are made again when they are needed.
    private func forget() {
        for state in known.values { state.next = [] }
        known = [:]
        taken = 0
    }

    private func closure(_ targets: [Int32]) -> [Int32] {
        mark += 1
        var (reached, waiting): ([Int32], [Int32]) = ([], targets)
        while let node = waiting.popLast() {
            guard marks[Int(node)] != mark, nodes.isLive(node) else { continue }
            marks[Int(node)] = mark
            if nodes.isFork(node) {
                waiting.append(nodes.other(of: node))
                waiting.append(nodes.next(of: node))
            } else {
                reached.append(node)
            }
        }
        return reached.sorted()
    }
}
