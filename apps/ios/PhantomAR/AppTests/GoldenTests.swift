import PhantomARCore
import PhantomEdge
import XCTest

@testable import PhantomAR

/// The bundle inside the app, on the device that runs the tests.
final class GoldenTests: XCTestCase {
    func testTheBundleIsWhole() throws {
        let bundle = try ModelBundle(folder: Launch.bundleFolder)
        XCTAssertEqual(bundle.manifest.format, "coreml")
        XCTAssertGreaterThan(bundle.manifest.files.count, 3)
    }

    /// Picture, image tokens, prefill and cached decoding along the recorded answer, each within its limit.
    func testTheRecordedAnswersAreGivenHere() async throws {
        let rows = try await CoreMLEngine.load(Launch.bundleFolder, .greedy) { _ in }.selfTest()
        XCTAssertEqual(rows.count, 4)
        for row in rows { XCTAssertTrue(row.passed, "\(row.name): \(row.measured), limit \(row.limit)") }
    }

    /// The way through the app's own engine: loading by steps, one picture, one answer.
    @MainActor func testTheAppsEngineAnswersAboutAPicture() async throws {
        var steps: [Double] = []
        let engine = try await CoreMLEngine.load(Launch.bundleFolder, .greedy) { steps.append($0.part) }
        XCTAssertEqual(steps, steps.sorted())
        let image = try RGBImage(DrawnScene.image())
        let question = "What colour is the largest object?"
        let answer = try await engine.ask(Frame(image), question, form: nil, maxTokens: 16) { _, _ in }
        XCTAssertFalse(answer.text.isEmpty)
        XCTAssertGreaterThan(answer.speed.firstToken, 0)
    }

    func testTheSettingsAreRead() throws {
        let config = try AppConfig(contentsOf: Bundle.main.url(forResource: "app", withExtension: "json"))
        XCTAssertFalse(config.presets.isEmpty)
    }

    @MainActor func testThePartOfATurnedPictureIsThatOfTheUprightOne() async throws {
        let image = DrawnScene.image()
        let part = PixelRect(x: 100, y: 60, width: 200, height: 200)
        let upright = try await StillFeed(image).cut(part)
        let turned = try await StillFeed(image, orientation: .right).cut(part)
        XCTAssertEqual(upright?.width, 200)
        XCTAssertNotEqual(upright, turned)
    }
}
