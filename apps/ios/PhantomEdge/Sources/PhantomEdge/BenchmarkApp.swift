#if canImport(CoreML) && canImport(CoreGraphics) && canImport(ImageIO)
    import CoreGraphics
    import CoreML
    import Foundation
    import ImageIO
    import PhantomEdgeCore

    #if canImport(Darwin)
        @preconcurrency import Darwin  // mach_task_self_ is a variable
    #endif
    #if canImport(UIKit)
        import UIKit
    #endif

    /// An app as a benchmark. `phantom-edge bench --device ios` starts it with a folder of its container, in which the
    /// bundle and a job lie, in the environment, and follows what it prints.
    ///
    ///     WindowGroup {
    ///         if BenchmarkApp.isAsked { Text("Measuring").task { await BenchmarkApp.run() } } else { ContentView() }
    ///     }
    ///
    /// Only Xcode's tools start an app with an environment: no other app can ask for it.
    public enum BenchmarkApp {
        static let variable = "PHANTOM_EDGE_BENCH"

        public static var isAsked: Bool { ProcessInfo.processInfo.environment[variable] != nil }

        /// Measures, prints one line of JSON after the other, and ends the process.
        public static func run() async {
            #if canImport(UIKit)
                await MainActor.run { UIApplication.shared.isIdleTimerDisabled = true }
            #endif
            let path = ProcessInfo.processInfo.environment[variable] ?? ""
            let folder = URL(fileURLWithPath: NSHomeDirectory(), isDirectory: true).appendingPathComponent(path)
            let scratch = FileManager.default.temporaryDirectory
            let benchmark = Benchmark(folder: folder, scratch: scratch, platform: AppleBench()) { line in
                FileHandle.standardOutput.write(Data((line + "\n").utf8))
            }
            await benchmark.run()
            exit(0)
        }
    }

    /// Core ML and this device under a benchmark.
    struct AppleBench: BenchPlatform {
        let conditions: any DeviceConditions = AppleConditions()

        var runtime: [String: BenchFact] {
            ["version": .text(ProcessInfo.processInfo.operatingSystemVersionString)]
        }

        let notes = ["peak memory is what the system counts against the app's limit: files that it maps are not in it"]

        /// Compiles the packages and loads them once: Core ML fits them to the device's processors then and keeps that.
        func install(_ bundle: ModelBundle) async throws { try await CoreMLBackend(bundle).prepare() }

        func backend(_ bundle: ModelBundle, threads: Int?) async throws -> any Backend {
            guard threads == nil else {
                throw PhantomEdgeError.input("Core ML chooses its threads itself; leave out --threads")
            }
            let backend = try await CoreMLBackend(bundle)
            try await backend.prepare()
            return backend
        }

        func write(_ picture: RGBImage, to file: URL) throws {
            var pixels = [UInt8](repeating: 255, count: picture.width * picture.height * 4)
            for place in 0..<picture.width * picture.height {
                for channel in 0..<3 { pixels[4 * place + channel] = picture.pixels[3 * place + channel] }
            }
            let image = pixels.withUnsafeMutableBytes { raw in
                CGColorSpace(name: CGColorSpace.sRGB).flatMap { space in
                    CGContext(
                        data: raw.baseAddress, width: picture.width, height: picture.height, bitsPerComponent: 8,
                        bytesPerRow: picture.width * 4, space: space, bitmapInfo: CGImageAlphaInfo.noneSkipLast.rawValue
                    )?.makeImage()  // a copy
                }
            }
            let target = CGImageDestinationCreateWithURL(file as CFURL, "public.png" as CFString, 1, nil)
            guard let image, let target else {
                throw PhantomEdgeError.runtime("there is no room for the golden picture")
            }
            CGImageDestinationAddImage(target, image, nil)
            guard CGImageDestinationFinalize(target) else {
                throw PhantomEdgeError.runtime("the golden picture cannot be written: free some space")
            }
        }

        func picture(_ file: URL) throws -> RGBImage { try RGBImage(contentsOf: file) }

        func peakMemory() -> Int? {
            #if canImport(Darwin)
                var info = task_vm_info_data_t()
                let words = MemoryLayout<task_vm_info_data_t>.size / MemoryLayout<natural_t>.size
                var count = mach_msg_type_number_t(words)
                let result = withUnsafeMutablePointer(to: &info) { pointer in
                    pointer.withMemoryRebound(to: integer_t.self, capacity: Int(count)) {
                        task_info(mach_task_self_, task_flavor_t(TASK_VM_INFO), $0, &count)
                    }
                }
                return result == KERN_SUCCESS ? Int(info.ledger_phys_footprint_peak) : nil
            #else
                return nil
            #endif
        }

        /// Apps are told how warm a device is in four steps, in no degrees.
        func temperature() -> Double? { nil }

        /// Apps are told the battery's level in steps of a few per cent: too coarse.
        func battery() -> BenchBattery? { nil }
    }
#endif
