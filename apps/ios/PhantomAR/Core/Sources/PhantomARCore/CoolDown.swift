import PhantomEdge

/// How the app backs off while the device is warm. `Pacing` slows one answer; this spaces them out.
public enum CoolDown {
    /// Between an answer and the next look; nil from the level on at which nothing is asked until the device has cooled.
    public static func rest(at level: ThermalLevel) -> Duration? {
        switch level {
        case .nominal: return .milliseconds(500)
        case .fair: return .seconds(1)
        case .serious: return .seconds(4)
        case .critical: return nil
        }
    }

    /// What the state pill says; nil while there is nothing to say.
    public static func words(at level: ThermalLevel) -> String? {
        switch level {
        case .nominal, .fair: return nil
        case .serious: return localized("Warm, slower")
        case .critical: return localized("Cooling down")
        }
    }
}
