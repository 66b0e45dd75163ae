import Foundation

/// A `.safetensors` file: named tensors, read where they lie.
public struct Safetensors: Sendable {
    static let headerLimit = 16 << 20
    static let fileLimit = 1 << 30

    private struct Entry: Decodable {
        let dtype: String
        let shape: [Int]
        let offsets: [Int]

        private enum CodingKeys: String, CodingKey {
            case dtype, shape
            case offsets = "data_offsets"
        }
    }

    private let data: Data
    private let start: Int
    private let entries: [String: (dtype: String, shape: [Int], range: Range<Int>)]
    /// Texts that the writer added, by name.
    public let metadata: [String: String]

    /// Throws `PhantomEdgeError.bundle` for a file that is too large, truncated or not of this format.
    public init(file: URL) throws {
        try self.init(ModelBundle.read(file, limit: Self.fileLimit), name: file.lastPathComponent)
    }

    init(_ data: Data, name: String) throws {
        let broken = PhantomEdgeError.bundle("\(name) is damaged: export the bundle again")
        guard data.count >= 8 else { throw broken }
        let length = data.prefix(8).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        guard length <= UInt64(Self.headerLimit), 8 + Int(length) <= data.count else { throw broken }
        let header = data.dropFirst(8).prefix(Int(length))
        guard var members = try? JSONSerialization.jsonObject(with: Data(header)) as? [String: Any] else {
            throw broken
        }
        guard let metadata = (members.removeValue(forKey: "__metadata__") ?? [:]) as? [String: String] else {
            throw broken
        }
        let space = data.count - 8 - Int(length)
        var entries: [String: (String, [Int], Range<Int>)] = [:]
        for (key, value) in members {
            guard let json = try? JSONSerialization.data(withJSONObject: value),
                let entry = try? JSONDecoder().decode(Entry.self, from: json), entry.offsets.count == 2,
                0 <= entry.offsets[0], entry.offsets[0] <= entry.offsets[1], entry.offsets[1] <= space
            else { throw broken }
            entries[key] = (entry.dtype, entry.shape, entry.offsets[0]..<entry.offsets[1])
        }
        (self.data, start, self.entries, self.metadata) = (data, 8 + Int(length), entries, metadata)
    }

    /// Names of the tensors.
    public var names: [String] { entries.keys.sorted() }

    /// Shape of a tensor; throws `PhantomEdgeError.bundle` when there is none of this name.
    public func shape(_ name: String) throws -> [Int] { try entry(name).shape }

    /// Values of an F32 tensor, the last axis fastest.
    public func floats(_ name: String) throws -> [Float] {
        try words(name, dtype: "F32", as: UInt32.self).map(Float.init(bitPattern:))
    }

    /// Values of an I64 tensor.
    public func integers(_ name: String) throws -> [Int] {
        try words(name, dtype: "I64", as: Int64.self).map { Int($0) }
    }

    /// Values of a U8 tensor.
    public func bytes(_ name: String) throws -> [UInt8] {
        try words(name, dtype: "U8", as: UInt8.self)
    }

    private func entry(_ name: String) throws -> (dtype: String, shape: [Int], range: Range<Int>) {
        guard let entry = entries[name] else {
            throw PhantomEdgeError.bundle("there is no tensor \(name): export the bundle again")
        }
        return entry
    }

    private func words<Word: FixedWidthInteger>(_ name: String, dtype: String, as: Word.Type) throws -> [Word] {
        let (stored, shape, range) = try entry(name)
        let width = MemoryLayout<Word>.size
        var elements = 1
        for size in shape {
            let (product, overflow) = elements.multipliedReportingOverflow(by: size)
            guard size >= 0, !overflow else { throw PhantomEdgeError.bundle("tensor \(name) has an impossible shape") }
            elements = product
        }
        guard stored == dtype, range.count % width == 0, range.count / width == elements else {
            throw PhantomEdgeError.bundle(
                "tensor \(name) is \(stored), not \(dtype) of its shape: export the bundle again")
        }
        return data.withUnsafeBytes { raw in
            let bytes = UnsafeRawBufferPointer(rebasing: raw[(start + range.lowerBound)..<(start + range.upperBound)])
            return (0..<elements).map {
                Word(littleEndian: bytes.loadUnaligned(fromByteOffset: $0 * width, as: Word.self))
            }
        }
    }
}
