import Foundation
import XCTest

@testable import PhantomEdgeCore

/// The bundle's real graphs, run by the Python package at the other end of two named pipes
/// (`tests/apps/native_server.py`).
actor PipeBackend: Backend {
    final class Cache: DecoderCache, Sendable {}

    nonisolated let name = "pipe"
    private let requests: FileHandle
    private let answers: FileHandle
    private let hidden: Int
    private(set) var calls: [String] = []

    init(folder: URL, hidden: Int) throws {
        requests = try FileHandle(forWritingTo: folder.appendingPathComponent("requests"))
        answers = try FileHandle(forReadingFrom: folder.appendingPathComponent("answers"))
        self.hidden = hidden
    }

    /// One connection for the process: the server takes one client.
    private static nonisolated(unsafe) var connection: (PipeBackend, ModelBundle)?

    static func shared() throws -> (PipeBackend, ModelBundle) {
        let folder = try Vectors.folder()
        if let connection { return connection }
        let bundle = try ModelBundle(folder: folder.appendingPathComponent("bundle"))
        let made = (try PipeBackend(folder: folder, hidden: bundle.manifest.shape.hidden), bundle)
        connection = made
        return made
    }

    func encode(tile: [Float]) throws -> [Float] { try call("v", 0, tile.map(\.bitPattern)) }

    func embed(_ ids: [Int]) throws -> [Float] { try call("e", 0, ids.map { UInt32($0) }) }

    func makeCache() throws -> any DecoderCache {
        _ = try call("c", 0, [])
        return Cache()
    }

    func decode(_ embeddings: [Float], at position: Int, cache: any DecoderCache) throws -> [Float] {
        try call("d", position, embeddings.map(\.bitPattern))
    }

    func trim() { calls.append("trim") }

    func forgetCalls() { calls = [] }

    private func call(_ kind: String, _ position: Int, _ words: [UInt32]) throws -> [Float] {
        let rows = kind == "d" ? words.count / hidden : words.count
        calls.append(kind == "d" ? "d\(position)+\(rows)" : kind == "e" ? "e\(rows)" : kind)
        var message = Data(kind.utf8)
        for word in [UInt32(position), UInt32(words.count)] + words {
            withUnsafeBytes(of: word.littleEndian) { message.append(contentsOf: $0) }
        }
        try requests.write(contentsOf: message)
        let count = try Int(Int32(bitPattern: self.words(1)[0]))
        if count < 0 {
            let text = try read(Int(self.words(1)[0]))
            throw PhantomEdgeError.runtime(String(decoding: text, as: UTF8.self))
        }
        return try self.words(count).map(Float.init(bitPattern:))
    }

    private func words(_ count: Int) throws -> [UInt32] {
        let data = try read(4 * count)
        return data.withUnsafeBytes { raw in
            (0..<count).map { UInt32(littleEndian: raw.loadUnaligned(fromByteOffset: 4 * $0, as: UInt32.self)) }
        }
    }

    private func read(_ count: Int) throws -> Data {
        var data = Data()
        while data.count < count {
            guard let more = try answers.read(upToCount: count - data.count), !more.isEmpty else {
                throw PhantomEdgeError.runtime("the server is gone")
            }
            data += more
        }
        return data
    }
}
