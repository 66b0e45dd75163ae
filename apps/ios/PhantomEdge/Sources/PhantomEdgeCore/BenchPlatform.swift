import Foundation

/// What a benchmark asks of the system that it runs on.
public protocol BenchPlatform: Sendable {
    /// Does what an installation does once, such as compiling the graphs for this device. Called before loading is
    /// timed, in the first process of several.
    func install(_ bundle: ModelBundle) async throws

    /// A backend with all graphs loaded. `threads` nil leaves their number to the runtime.
    func backend(_ bundle: ModelBundle, threads: Int?) async throws -> any Backend

    /// What a session asks before each call.
    var conditions: any DeviceConditions { get }

    /// Name and version of the runtime, as facts for the report.
    var runtime: [String: BenchFact] { get }

    /// What a reader of the numbers has to know.
    var notes: [String] { get }

    /// Writes a picture as a compressed file without loss, as `picture` reads it.
    func write(_ picture: RGBImage, to file: URL) throws

    /// Reads and decodes a picture's file.
    func picture(_ file: URL) throws -> RGBImage

    /// The most bytes that this process has had at once; nil where the system does not say.
    func peakMemory() -> Int?

    /// Degrees Celsius of whatever the system tells; nil where it tells none.
    func temperature() -> Double?

    /// The battery's state; nil where the system does not count its charge.
    func battery() -> BenchBattery?
}

/// A battery at one moment: whether it is charged, microampere hours that it holds, and volts.
public struct BenchBattery: Sendable {
    public let powered: Bool
    public let charge: Double
    public let volts: Double

    public init(powered: Bool, charge: Double, volts: Double) {
        (self.powered, self.charge, self.volts) = (powered, charge, volts)
    }
}

/// A plain fact of a report.
public enum BenchFact: Encodable, Equatable, Sendable {
    case text(String)
    case whole(Int)
    case number(Double)
    case group([String: BenchFact])

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        switch self {
        case .text(let value): try container.encode(value)
        case .whole(let value): try container.encode(value)
        case .number(let value): try container.encode(value)
        case .group(let value): try container.encode(value)
        }
    }
}
