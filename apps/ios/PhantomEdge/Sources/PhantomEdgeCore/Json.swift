/// A JSON value whose texts are UTF-8 bytes.
///
/// Foundation's reader makes `String` keys, and Swift takes two strings of one canonical form for the same key:
/// vocabularies have both `Å` (U+00C5) and `Å` (U+212B), and one of them would be lost.
indirect enum Json: Equatable {
    case null
    case bool(Bool)
    case number(Double)
    case text([UInt8])
    case array([Json])
    case object([Member])

    struct Member: Equatable {
        let key: [UInt8]
        let value: Json
    }

    /// Throws `PhantomEdgeError.bundle` for anything that is not one JSON value.
    init(_ bytes: some Collection<UInt8>) throws {
        var reader = JsonReader(bytes: Array(bytes))
        self = try reader.document()
    }

    /// The member of an object; nil when there is none, it is null, or this is no object.
    subscript(key: String) -> Json? {
        guard case .object(let members) = self else { return nil }
        let name = Array(key.utf8)
        guard let value = members.last(where: { $0.key == name })?.value, value != .null else { return nil }
        return value
    }

    var string: String? {
        guard case .text(let bytes) = self else { return nil }
        return String(decoding: bytes, as: UTF8.self)
    }

    var bytes: [UInt8]? {
        guard case .text(let bytes) = self else { return nil }
        return bytes
    }

    var flag: Bool? {
        guard case .bool(let value) = self else { return nil }
        return value
    }

    /// A whole number that fits 32 bits.
    var integer: Int? {
        guard case .number(let value) = self, let whole = Int32(exactly: value) else { return nil }
        return Int(whole)
    }

    var items: [Json]? {
        guard case .array(let items) = self else { return nil }
        return items
    }

    var members: [Member]? {
        guard case .object(let members) = self else { return nil }
        return members
    }
}

private struct JsonReader {
    private static let depthLimit = 64

    let bytes: [UInt8]
    private var at = 0
    private var depth = 0

    init(bytes: [UInt8]) { self.bytes = bytes }

    mutating func document() throws -> Json {
        guard String(validating: bytes, as: UTF8.self) != nil else { throw failure("is not UTF-8") }
        let value = try value()
        skipSpace()
        guard at == bytes.count else { throw failure("has more than one value") }
        return value
    }

    private func failure(_ what: String) -> PhantomEdgeError {
        .bundle("JSON \(what) at byte \(at): export the bundle again")
    }

    private var next: UInt8? { at < bytes.count ? bytes[at] : nil }

    private mutating func skipSpace() {
        while let byte = next, [0x20, 0x0A, 0x0D, 0x09].contains(byte) { at += 1 }
    }

    private mutating func take(_ byte: UInt8) -> Bool {
        skipSpace()
        guard next == byte else { return false }
        at += 1
        return true
    }

    private mutating func value() throws -> Json {
        skipSpace()
        switch next {
        case UInt8(ascii: "{"): return try nested { try $0.object() }
        case UInt8(ascii: "["): return try nested { try $0.array() }
        case UInt8(ascii: "\""): return .text(try text())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        default: return try number()
        }
    }

    private mutating func nested(_ read: (inout JsonReader) throws -> Json) throws -> Json {
        at += 1
        depth += 1
        guard depth <= Self.depthLimit else { throw failure("is nested too deeply") }
        defer { depth -= 1 }
        return try read(&self)
    }

    private mutating func object() throws -> Json {
        var members: [Json.Member] = []
        if take(UInt8(ascii: "}")) { return .object(members) }
        repeat {
            skipSpace()
            guard next == UInt8(ascii: "\"") else { throw failure("lacks a key") }
            let key = try text()
            guard take(UInt8(ascii: ":")) else { throw failure("lacks a colon") }
            members.append(Json.Member(key: key, value: try value()))
        } while take(UInt8(ascii: ","))
        guard take(UInt8(ascii: "}")) else { throw failure("lacks a brace") }
        return .object(members)
    }

    private mutating func array() throws -> Json {
        var items: [Json] = []
        if take(UInt8(ascii: "]")) { return .array(items) }
        repeat { items.append(try value()) } while take(UInt8(ascii: ","))
        guard take(UInt8(ascii: "]")) else { throw failure("lacks a bracket") }
        return .array(items)
    }

    private mutating func word(_ text: String, _ value: Json) throws -> Json {
        guard bytes[at...].starts(with: text.utf8) else { throw failure("has an unknown word") }
        at += text.utf8.count
        return value
    }

    private mutating func number() throws -> Json {
        let start = at
        while let byte = next, "+-.eE0123456789".utf8.contains(byte) { at += 1 }
        guard let value = Double(String(decoding: bytes[start..<at], as: UTF8.self)) else {
            throw failure("has something that is no value")
        }
        return .number(value)
    }

    private mutating func text() throws -> [UInt8] {
        at += 1
        var result: [UInt8] = []
        while let byte = next {
            at += 1
            switch byte {
            case UInt8(ascii: "\""): return result
            case UInt8(ascii: "\\"): result += try escape()
            case 0..<0x20: throw failure("has a control character in a text")
            default: result.append(byte)
            }
        }
        throw failure("ends within a text")
    }

    private static let escapes: [UInt8: UInt8] = [
        UInt8(ascii: "\""): 0x22, UInt8(ascii: "\\"): 0x5C, UInt8(ascii: "/"): 0x2F, UInt8(ascii: "b"): 0x08,
        UInt8(ascii: "f"): 0x0C, UInt8(ascii: "n"): 0x0A, UInt8(ascii: "r"): 0x0D, UInt8(ascii: "t"): 0x09,
    ]

    private mutating func escape() throws -> [UInt8] {
        guard let byte = next else { throw failure("ends within a text") }
        at += 1
        if let plain = Self.escapes[byte] { return [plain] }
        guard byte == UInt8(ascii: "u") else { throw failure("has an unknown escape") }
        var code = try hex()
        if (0xD800..<0xDC00).contains(code) {
            guard bytes[at...].starts(with: "\\u".utf8) else { throw failure("has half a character") }
            at += 2
            let low = try hex()
            guard (0xDC00..<0xE000).contains(low) else { throw failure("has half a character") }
            code = 0x10000 + (code - 0xD800) << 10 + (low - 0xDC00)
        }
        guard let scalar = Unicode.Scalar(code) else { throw failure("has half a character") }
        return Array(String(scalar).utf8)
    }

    private mutating func hex() throws -> UInt32 {
        let digits = bytes[at...].prefix(4)
        guard digits.count == 4, digits.allSatisfy({ Character(Unicode.Scalar($0)).isHexDigit }),
            let value = UInt32(String(decoding: digits, as: UTF8.self), radix: 16)
        else { throw failure("has an unknown escape") }
        at += 4
        return value
    }
}
