/// How warm a device is, in the system's own steps.
public enum ThermalLevel: Int, Comparable, Sendable, CaseIterable {
    case nominal, fair, serious, critical

    public static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
}

/// What a session asks the device before each step.
public protocol DeviceConditions: Sendable {
    var thermal: ThermalLevel { get }
    /// Bytes that this app may still take; nil where the system does not say.
    var availableMemory: Int? { get }
}

/// A device that never warms up and never runs out: for tests and servers.
public struct UnlimitedConditions: DeviceConditions {
    public init() {}
    public var thermal: ThermalLevel { .nominal }
    public var availableMemory: Int? { nil }
}

/// What a session does when the device is warm. It never changes what is computed, only when.
public struct Pacing: Sendable {
    /// A pause before each call of a graph, by level.
    public var pauses: [ThermalLevel: Duration]
    /// From this level on an answer ends early (`StopReason.thermal`) and no new one begins.
    public var stopsAt: ThermalLevel?

    public init(
        pauses: [ThermalLevel: Duration] = [.serious: .milliseconds(50), .critical: .milliseconds(250)],
        stopsAt: ThermalLevel? = nil
    ) {
        (self.pauses, self.stopsAt) = (pauses, stopsAt)
    }

    /// As fast as the device goes.
    public static let unpaced = Pacing(pauses: [:])
}
