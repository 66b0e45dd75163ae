import Foundation

/// What one process measured, in the form that the Python package reads: samples by row in seconds, bytes and tokens
/// per second, curves of `[seconds, value]`, and what is missing and why.
struct BenchRun: Encodable {
    var runtime: [String: BenchFact] = [:]
    var model: [String: BenchFact] = [:]
    var samples: [String: [Double]] = [:]
    var curves: [String: [[Double]]] = [:]
    var missing: [String: String] = [:]
    var conditions: [String: BenchFact] = [:]
    var notes: [String] = []

    mutating func add(_ row: String, _ values: Double...) { samples[row, default: []] += values }

    /// A row of a number that the system may not tell.
    mutating func add(_ row: String, _ value: Int?, otherwise why: String) {
        if let value { add(row, Double(value)) } else { missing[row] = why }
    }
}

/// One line of what a benchmark tells: a step while it works, then a run or an error.
enum BenchLine {
    case step(String)
    case run(BenchRun)
    case failure(any Error)

    /// The line as JSON, without its end.
    var json: String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        do {
            switch self {
            case .step(let text): return String(decoding: try encoder.encode(["step": text]), as: UTF8.self)
            case .run(let run): return String(decoding: try encoder.encode(["run": run]), as: UTF8.self)
            case .failure(let error): return String(decoding: try encoder.encode(Failure(error)), as: UTF8.self)
            }
        } catch {  // a number that is none, such as 1 over no time at all
            return #"{"error":"what was measured is no finite number: measure again","code":1}"#
        }
    }

    /// Code 2 is wrong use or bad input, 1 that something went wrong with it.
    private struct Failure: Encodable {
        let error: String
        let code: Int

        init(_ cause: any Error) {
            error = (cause as? PhantomEdgeError)?.description ?? cause.localizedDescription
            switch cause {
            case PhantomEdgeError.bundle, PhantomEdgeError.input: code = 2
            default: code = 1
            }
        }
    }
}
