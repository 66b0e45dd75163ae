import Foundation
import XCTest

@testable import PhantomEdgeCore

/// What the Python package makes of the same inputs: the folder that its tests write (`tests/apps/native_vectors.py`)
/// and name in `PHANTOM_EDGE_VECTORS`. Without it the tests that compare are skipped.
struct Vectors {
    let folder: URL
    let json: Json
    let tensors: Safetensors

    static func folder() throws -> URL {
        guard let path = ProcessInfo.processInfo.environment["PHANTOM_EDGE_VECTORS"] else {
            throw XCTSkip("PHANTOM_EDGE_VECTORS names no folder: run the Python tests")
        }
        return URL(fileURLWithPath: path)
    }

    init(_ name: String = "vectors") throws {
        folder = try Self.folder()
        json = try Json(Data(contentsOf: folder.appendingPathComponent("\(name).json")))
        tensors = try Safetensors(file: folder.appendingPathComponent("\(name).safetensors"))
    }

    func cases(_ key: String) throws -> [Json] { try XCTUnwrap(json[key]?.items) }

    func image(_ name: String) throws -> RGBImage {
        let shape = try tensors.shape(name)
        return try RGBImage(width: shape[1], height: shape[0], pixels: tensors.bytes(name))
    }
}

extension Json {
    func int(_ key: String) throws -> Int { try XCTUnwrap(self[key]?.integer, key) }

    func text(_ key: String) throws -> String { try XCTUnwrap(self[key]?.string, key) }

    func ints(_ key: String) throws -> [Int] { try XCTUnwrap(self[key]?.items).map { try XCTUnwrap($0.integer) } }

    func strings(_ key: String) throws -> [String] { try XCTUnwrap(self[key]?.items).map { try XCTUnwrap($0.string) } }

    var double: Double? {
        guard case .number(let value) = self else { return nil }
        return value
    }
}
