import Foundation

/// How the next token is chosen. `temperature` 0 is greedy; `topP` keeps the smallest set of tokens with at least that
/// probability (nucleus sampling, arXiv 1904.09751), `topK` so many of the likeliest, 0 all of them.
public struct Sampling: Equatable, Sendable {
    public static let greedy = Sampling(checked: 0, 1, 0, nil)
    /// Below, the likeliest token has all the weight.
    static let temperatures = 0.001...100.0

    public let temperature: Double
    public let topP: Double
    public let topK: Int
    /// The same seed gives the same choices, here and on Android; nil draws one.
    public let seed: UInt64?

    /// Throws `PhantomEdgeError.input` for values that make no distribution.
    public init(temperature: Double, topP: Double = 1, topK: Int = 0, seed: UInt64? = nil) throws {
        guard temperature == 0 || Self.temperatures.contains(temperature) else {
            throw PhantomEdgeError.input("temperature is \(temperature): use 0 (greedy), or 0.001 to 100")
        }
        guard topP > 0, topP <= 1 else {
            throw PhantomEdgeError.input("top-p is \(topP): use more than 0 and at most 1")
        }
        guard topK >= 0 else { throw PhantomEdgeError.input("top-k is \(topK): use a whole number, 0 for all") }
        self.init(checked: temperature, topP, topK, seed)
    }

    private init(checked temperature: Double, _ topP: Double, _ topK: Int, _ seed: UInt64?) {
        (self.temperature, self.topP, self.topK, self.seed) = (temperature, topP, topK, seed)
    }

    /// A new sequence of choices.
    func chooser() -> Chooser { Chooser(self, random: SplitMix64(state: seed ?? .random(in: .min ... .max))) }

    /// The tokens that may follow, the likeliest first, with their weights. Needs a temperature above 0.
    func nucleus(_ logits: [Float]) -> [Likeliest.Element] {
        var (kept, sum): ([Likeliest.Element], Double) = ([], 0)
        var likeliest = Likeliest(logits, temperature: temperature)
        // Rounded, the sum may come to 1 before the last token.
        while topP == 1 || sum / likeliest.total < topP, topK == 0 || kept.count < topK, let next = likeliest.next() {
            kept.append(next)
            sum += next.weight
        }
        return kept
    }
}

/// Tokens from the likeliest on; of equal ones the smaller id comes first. Ordered only as far as it is asked.
struct Likeliest: Sequence, IteratorProtocol {
    /// Sum of all weights, the softmax's denominator.
    let total: Double
    private let weights: [Double]
    private var queue: Heap<Int>

    init(_ logits: [Float], temperature: Double) {
        let top = Double(logits.max() ?? 0) / temperature
        let weights = logits.map { exp(Double($0) / temperature - top) }
        self.weights = weights
        total = weights.reduce(0, +)
        queue = Heap(Array(weights.indices)) { a, b in
            weights[a] > weights[b] || weights[a] == weights[b] && a < b
        }
    }

    mutating func next() -> (id: Int, weight: Double)? {
        queue.pop().map { ($0, weights[$0]) }
    }
}

/// The choices of one answer.
struct Chooser {
    private let sampling: Sampling
    private var random: SplitMix64

    init(_ sampling: Sampling, random: SplitMix64) { (self.sampling, self.random) = (sampling, random) }

    /// The id of the next token. Of equal logits the first wins.
    mutating func choose(_ logits: [Float]) -> Int {
        guard sampling.temperature > 0 else { return Self.greedy(logits) }
        if sampling.topP == 1 && sampling.topK == 0 {
            let likeliest = Likeliest(logits, temperature: sampling.temperature)
            return Self.pick(likeliest, at: random.unit() * likeliest.total)
        }
        let kept = sampling.nucleus(logits)
        return Self.pick(kept, at: random.unit() * kept.reduce(0) { $0 + $1.weight })
    }

    private static func greedy(_ logits: [Float]) -> Int {
        var best = 0
        for (id, logit) in logits.enumerated() where logit > logits[best] { best = id }
        return best
    }

    /// The token under `place` when the weights are laid end to end.
    private static func pick(_ tokens: some Sequence<Likeliest.Element>, at place: Double) -> Int {
        var (sum, last) = (0.0, 0)
        for (id, weight) in tokens {
            sum += weight
            last = id
            if sum > place { break }
        }
        return last
    }
}

/// SplitMix64 (Steele, Lea and Flood, 2014): a small generator that is the same everywhere.
struct SplitMix64 {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    /// 0 up to, but not, 1, in steps of 2^-53.
    mutating func unit() -> Double { Double(next() >> 11) * 0x1p-53 }
}
