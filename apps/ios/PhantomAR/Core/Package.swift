// swift-tools-version: 6.0
import PackageDescription

let package = Package(
    name: "PhantomARCore",
    platforms: [.iOS(.v18), .macOS(.v15)],
    products: [.library(name: "PhantomARCore", targets: ["PhantomARCore"])],
    dependencies: [.package(path: "../../PhantomEdge")],
    targets: [
        // What the app does, without a screen or a camera: it compiles, and its tests run, on Linux too.
        .target(name: "PhantomARCore", dependencies: ["PhantomEdge"]),
        .testTarget(name: "PhantomARCoreTests", dependencies: ["PhantomARCore"]),
    ]
)
