#if canImport(CoreML)
    import Foundation
    import PhantomEdgeCore

    #if canImport(os)
        import os
    #endif

    /// The device's own word on its temperature and on the memory that is left to this app.
    public struct AppleConditions: DeviceConditions {
        public init() {}

        public var thermal: ThermalLevel {
            #if canImport(Darwin)
                switch ProcessInfo.processInfo.thermalState {
                case .nominal: return .nominal
                case .fair: return .fair
                case .serious: return .serious
                case .critical: return .critical
                @unknown default: return .nominal
                }
            #else
                return .nominal
            #endif
        }

        public var availableMemory: Int? {
            #if os(iOS)
                return os_proc_available_memory()
            #else
                return nil  // a Mac swaps
            #endif
        }
    }
#endif
