import XCTest

@testable import PhantomEdgeCore

/// Digests and damaged bundles.
final class BundleTests: XCTestCase {
    private var folder = URL(fileURLWithPath: "/")

    override func setUpWithError() throws {
        folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    }

    override func tearDownWithError() throws { try FileManager.default.removeItem(at: folder) }

    func testTheDigestsOfTheStandard() throws {
        // FIPS 180-4's examples, and a message that fills its last block.
        let messages = [
            "": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "abc": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq":
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
            String(repeating: "a", count: 64): "ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb",
        ]
        let file = folder.appendingPathComponent("message")
        for (message, digest) in messages {
            try Data(message.utf8).write(to: file)
            XCTAssertEqual(try FileDigest.sha256(of: file), digest)
            var portable = PortableSHA256()
            for byte in message.utf8 { portable.update(data: [byte]) }
            XCTAssertEqual(portable.finalize().map { String(format: "%02x", $0) }.joined(), digest)
        }
    }

    func testAnExportedBundleIsReadAndEveryDamageIsFound() throws {
        try FileManager.default.removeItem(at: folder)
        let exported = try Vectors.folder().appendingPathComponent("bundle")
        try FileManager.default.copyItem(at: exported, to: folder)
        let bundle = try ModelBundle(folder: folder)
        XCTAssertTrue(FileManager.default.fileExists(atPath: try bundle.url(of: .textDecoder).path))
        let graph = bundle.manifest.graphs[.textDecoder]
        XCTAssertGreaterThan(bundle.bytes(below: graph), 100_000)

        let extra = folder.appendingPathComponent("extra.bin")
        try Data([1]).write(to: extra)
        assertRefused("extra.bin is not listed")
        try FileManager.default.removeItem(at: extra)

        let golden = folder.appendingPathComponent(ModelBundle.goldenName)
        var data = try Data(contentsOf: golden)
        data[data.count - 1] ^= 1
        try data.write(to: golden)
        assertRefused("golden.safetensors is not the file")
        XCTAssertNoThrow(try ModelBundle(folder: folder, verify: false))
        try FileManager.default.removeItem(at: golden)
        assertRefused("golden.safetensors is missing")
        try FileManager.default.createSymbolicLink(
            at: golden, withDestinationURL: exported.appendingPathComponent(ModelBundle.goldenName))
        assertRefused("golden.safetensors is missing")
    }

    func testAManifestThatIsNoneIsRefused() throws {
        assertRefused("has no manifest.json")
        let whole = try Data(contentsOf: Vectors.folder().appendingPathComponent("bundle/manifest.json"))
        let json = try XCTUnwrap(JSONSerialization.jsonObject(with: whole) as? [String: Any])
        let damages: [(String, Any?, String)] = [
            ("schema", nil, "not the manifest of a phantom-edge bundle"),
            ("schema", 1, "schema 1 is of an earlier phantom-edge, this app reads 2: export it again"),
            ("schema", 3, "schema 3 is newer than this app reads (2): update the app"),
            ("context", nil, "manifest.json lacks context"), ("context", 0, "manifest.json: context is not a size"),
            ("chunk", 1.5, "is not a whole number"), ("chunk", -1, "manifest.json: chunk is not a size"),
            ("target", 7, "manifest.json: target is not of type"),
            ("knows", 7, "manifest.json: knows is not of type"),
            ("knows", "", "manifest.json: knows is not a sentence"),
            ("knows", "one\ntwo", "manifest.json: knows is not a sentence"),
            ("knows", String(repeating: "x", count: 201), "manifest.json: knows is not a sentence"),
            ("tiles", ["size": 1], "manifest.json lacks tiles."),
            ("ids", ["first": 0, "image": 1 << 30, "end": [Int]()], "contradicts"),
            ("ids", ["first": 0, "image": 1, "end": [Int]()], "contradicts"),
            ("ids", ["first": 0, "image": 1, "end": "2"], "manifest.json: ids.end is not of type"),
            ("files", ["x": ["bytes": 1]], "manifest.json lacks files.x.sha256"),
            ("files", ["../x": ["bytes": 1, "sha256": ""]], "lies outside"),
            ("files", ["/etc/passwd": ["bytes": 1, "sha256": ""]], "lies outside"),
        ]
        for (key, value, message) in damages {
            var damaged = json
            damaged[key] = value
            try JSONSerialization.data(withJSONObject: damaged).write(
                to: folder.appendingPathComponent("manifest.json"))
            assertRefused(message)
        }
        try Data("[".utf8).write(to: folder.appendingPathComponent("manifest.json"))
        assertRefused("not the manifest of a phantom-edge bundle")
    }

    func testDamagedTensorsAreRefused() throws {
        func file(_ header: String, _ bytes: Int) -> Data {
            withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { Data($0) } + Data(header.utf8)
                + Data(count: bytes)
        }
        let good = #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#
        XCTAssertEqual(try Safetensors(file(good, 8), name: "x").floats("a"), [0, 0])
        XCTAssertThrowsError(try Safetensors(file(good, 8), name: "x").integers("a"))
        XCTAssertThrowsError(try Safetensors(file(good, 8), name: "x").floats("b"))
        XCTAssertThrowsError(try Safetensors(file(good, 7), name: "x"))
        XCTAssertThrowsError(try Safetensors(Data([1, 2, 3]), name: "x"))
        XCTAssertThrowsError(try Safetensors(Data(repeating: 0xFF, count: 64), name: "x"))
        let lies = #"{"a":{"dtype":"F32","shape":[9223372036854775807,2],"data_offsets":[0,8]}}"#
        XCTAssertThrowsError(try Safetensors(file(lies, 8), name: "x").floats("a"))
        let turned = #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}"#
        XCTAssertThrowsError(try Safetensors(file(turned, 8), name: "x"))
    }

    private func assertRefused(_ message: String, line: UInt = #line) {
        XCTAssertThrowsError(try ModelBundle(folder: folder), line: line) { error in
            XCTAssertTrue("\(error)".contains(message), "\(error)", line: line)
        }
    }
}
