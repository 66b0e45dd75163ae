// swift-tools-version: 6.0
import PackageDescription

let package = Package(
    name: "PhantomEdge",
    platforms: [.iOS(.v18), .macOS(.v15)],
    products: [.library(name: "PhantomEdge", targets: ["PhantomEdge"])],
    targets: [
        // Everything that needs no Apple framework but Foundation: it compiles, and its tests run, on Linux too.
        .target(name: "PhantomEdgeCore"),
        // Core ML, pictures and the device's condition. Empty where there is no Core ML.
        .target(name: "PhantomEdge", dependencies: ["PhantomEdgeCore"]),
        .testTarget(name: "PhantomEdgeTests", dependencies: ["PhantomEdgeCore", "PhantomEdge"]),
    ]
)
