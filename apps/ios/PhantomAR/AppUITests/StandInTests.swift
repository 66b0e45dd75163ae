import XCTest

/// The whole app with the stand-in engine and a drawn picture: runs in a simulator, without a model or a camera.
@MainActor final class StandInTests: XCTestCase {
    private let app = XCUIApplication()

    override func setUp() async throws {
        continueAfterFailure = false
        app.launchArguments = ["-engine", "fake", "-AppleLanguages", "(en)"]
        app.launch()
    }

    func testAPresetIsAnsweredAndItsAnswerStaysOnTheCard() {
        let card = app.buttons["preset-1"]
        XCTAssertTrue(card.waitForExistence(timeout: 20))
        expectation(for: NSPredicate(format: "isEnabled == true"), evaluatedWith: card)
        waitForExpectations(timeout: 20)
        card.tap()
        expectation(for: NSPredicate(format: "value BEGINSWITH 'A stand-in answer'"), evaluatedWith: card)
        waitForExpectations(timeout: 20)
        XCTAssertTrue(card.isSelected)
    }

    func testAQuestionOfOnesOwnIsAsked() {
        let field = app.textFields["question"]
        XCTAssertTrue(field.waitForExistence(timeout: 20))
        expectation(for: NSPredicate(format: "isEnabled == true"), evaluatedWith: app.buttons["preset-0"])
        waitForExpectations(timeout: 20)
        field.tap()
        field.typeText("Is it a cube?\n")
        let label = app.staticTexts.containing(NSPredicate(format: "label CONTAINS 'Is it a cube?'")).firstMatch
        XCTAssertTrue(label.waitForExistence(timeout: 20))
    }

    func testTheSelfTestReports() {
        let about = app.buttons["About the model"]
        XCTAssertTrue(about.waitForExistence(timeout: 20))
        about.tap()
        let run = app.buttons["self-test"]
        XCTAssertTrue(run.waitForExistence(timeout: 20))
        expectation(for: NSPredicate(format: "isEnabled == true"), evaluatedWith: run)
        waitForExpectations(timeout: 20)
        run.tap()
        let row = app.staticTexts.containing(NSPredicate(format: "label CONTAINS 'No model to test'")).firstMatch
        XCTAssertTrue(row.waitForExistence(timeout: 20))
    }

    /// The stand-in says how many pixels it sees: the drawn scene has 720 by 960.
    func testTheWholePictureIsOneTapAway() {
        let card = app.buttons["preset-0"]
        XCTAssertTrue(card.waitForExistence(timeout: 20))
        expectation(for: NSPredicate(format: "value CONTAINS '288 by 288'"), evaluatedWith: card)
        waitForExpectations(timeout: 20)
        let whole = app.switches["whole-picture"].exists ? app.switches["whole-picture"] : app.buttons["whole-picture"]
        whole.tap()
        expectation(for: NSPredicate(format: "value CONTAINS '720 by 720'"), evaluatedWith: card)
        waitForExpectations(timeout: 20)
        app.sliders["reach"].adjust(toNormalizedSliderPosition: 0)
        expectation(for: NSPredicate(format: "value CONTAINS '72 by 72'"), evaluatedWith: card)
        waitForExpectations(timeout: 20)
    }

    func testTheFirstScreenLeadsToTheCamera() {
        app.terminate()
        app.launchArguments += ["-welcome", "YES"]
        app.launch()
        let camera = app.buttons["use-camera"]
        XCTAssertTrue(camera.waitForExistence(timeout: 20))
        XCTAssertTrue(app.buttons["choose-picture"].exists)
        camera.tap()
        XCTAssertTrue(app.buttons["preset-0"].waitForExistence(timeout: 20))
        XCTAssertFalse(camera.exists)
    }

    /// Contrast, labels, sizes of targets: what the system can judge by itself.
    func testAccessibility() throws {
        XCTAssertTrue(app.buttons["preset-0"].waitForExistence(timeout: 20))
        try app.performAccessibilityAudit(for: [.contrast, .elementDetection, .hitRegion])
    }
}
