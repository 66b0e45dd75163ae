import Foundation
import PhantomEdge
import XCTest

@testable import PhantomARCore

@MainActor final class AppModelTests: XCTestCase {
    func testFromLoadingToALiveAnswer() async {
        let (app, camera) = (appModel(), Pictures())
        app.use(camera)
        XCTAssertEqual(app.stage, .loading)
        await app.loadModel()
        XCTAssertNil(app.loading)
        await eventually("an answer") { app.answers["What is it?"] != nil }
        XCTAssertTrue(app.answers["What is it?"]!.text.hasPrefix("A stand-in answer to “What is it?” about 1 by"))
        XCTAssertTrue(app.answers["What is it?"]!.text.hasSuffix(" …"), "cut short")
        XCTAssertEqual(app.memory, 12_000_000)
        XCTAssertGreaterThan(app.speed.firstToken, 0)
        XCTAssertEqual(camera.labels.first?.question, "What is it?")
        XCTAssertEqual(app.announcement, "What is it? \(app.label.answer)")
        await eventually("it looks again by itself") { camera.taken > 1 }
    }

    func testAnotherQuestionEndsTheOneUnderWay() async {
        let app = appModel(Weather(), Stuck())
        app.use(Pictures())
        await app.loadModel()
        await eventually("it is asked") { app.stage == .looking }
        app.choose("  Own\nquestion ")
        await eventually("the new one is asked") { app.label.question.contains("Own question") }
        app.choose("   ")
        XCTAssertTrue(app.question.contains("Own question"))
        XCTAssertEqual(app.answers, [:])
    }

    func testPauseHoldsOnePictureAndAllPresetsAreAskedAboutIt() async {
        let (app, camera) = (appModel(), Pictures())
        app.use(camera)
        await app.loadModel()
        app.askAll()
        await eventually("both answers") { app.answers.count == 2 && app.stage == .paused }
        XCTAssertTrue(app.isPaused)
        XCTAssertTrue(app.answers.values.allSatisfy { $0.text.contains("about 99 by") }, "\(app.answers)")
        XCTAssertEqual(app.pill, .init(words: "Paused", tone: .calm))
        app.togglePause()
        await eventually("it looks again") { app.label.answer.contains("about 1 by") || camera.taken > 0 }
        app.aimed()
        XCTAssertEqual(app.answers, [:])
    }

    func testAPictureIsAskedOnceAndCannotBePaused() async {
        let (app, picture) = (appModel(), Pictures(.picture))
        app.use(picture)
        await app.loadModel()
        await eventually("it rests") { app.stage == .paused && app.answers.count == 1 }
        XCTAssertEqual(app.pill.words, "Picture")
        XCTAssertFalse(app.canPause)
        app.togglePause()
        XCTAssertFalse(app.isPaused)
        XCTAssertEqual(picture.taken, 1)
        app.use(Pictures())
        XCTAssertTrue(picture.isClosed)
    }

    func testMoreOrLessOfThePictureIsAskedAboutAnew() async {
        let (app, camera) = (appModel(), Pictures())
        app.look(at: Reach(size: 0.7))
        app.use(camera)
        XCTAssertEqual(camera.reach, Reach(size: 0.7))
        await app.loadModel()
        await eventually("an answer") { app.answers.count == 1 }
        XCTAssertEqual(app.label.frame?.image.height, 1, "the label has what was looked at")
        app.togglePause()
        app.look(at: Reach(isWhole: true))
        XCTAssertTrue(camera.reach.isWhole)
        XCTAssertEqual(app.answers, [:])
        XCTAssertFalse(app.isPaused)
        await eventually("it is asked anew") { app.answers.count == 1 }
        app.look(at: Reach(isWhole: true))
        XCTAssertEqual(app.answers.count, 1, "nothing has changed")
        app.look(at: Reach(size: 0.2), isSettled: false)
        XCTAssertEqual(app.shownReach, Reach(size: 0.2))
        XCTAssertTrue(camera.reach.isWhole, "fingers still move")
        XCTAssertEqual(app.answers.count, 1)
        let picture = Pictures(.picture)
        app.use(picture)
        XCTAssertTrue(picture.reach.isWhole, "another source looks as far")
    }

    func testInTheBackgroundNothingIsAsked() async {
        let (app, camera) = (appModel(), Pictures())
        app.setAway(true)
        app.use(camera)
        await app.loadModel()
        XCTAssertEqual(camera.taken, 0)
        app.setAway(false)
        await eventually("it goes on") { camera.taken > 0 }
    }

    func testAHotDeviceIsLeftToCool() async {
        let (weather, camera) = (Weather(), Pictures())
        weather.thermal = .critical
        let app = appModel(weather)
        app.use(camera)
        await app.loadModel()
        await eventually("it says so") { app.pill.words == "Cooling down" }
        XCTAssertEqual(camera.taken, 0)
        weather.thermal = .serious
        await eventually("it goes on, slower") { app.answers.count == 1 }
        XCTAssertEqual(camera.taken, 1)
        let rests = ThermalLevel.allCases.map { CoolDown.rest(at: $0) ?? .seconds(3600) }
        XCTAssertEqual(rests, rests.sorted())
    }

    func testASourceWithoutAPictureSaysWhatToDo() async {
        let (app, camera) = (appModel(), Pictures(.ar))
        (camera.isEmpty, camera.hint) = (true, "Tap a surface")
        app.use(camera)
        await app.loadModel()
        await eventually("the hint") { app.pill.words == "Tap a surface" }
        camera.isEmpty = false
        await eventually("an answer") { !app.answers.isEmpty }
    }

    func testFailuresStopTheLoopAndAnotherTryMendsThem() async {
        let broken = PhantomEdgeError.bundle("model.mlpackage is missing: copy it")
        let tries = Tries()
        let app = AppModel(config: config, conditions: Weather()) { _ in
            if await tries.next() == 1 { throw broken }
            return FakeEngine(step: .milliseconds(1))
        }
        app.use(Pictures())
        await app.loadModel()
        XCTAssertEqual(app.notice?.failure.code, .bundle)
        XCTAssertEqual(app.stage, .stopped)
        app.sourceFailed(Failure(.cameraRefused, "x"))
        XCTAssertEqual(app.notice?.subject, .model, "the model's notice is not hidden by the camera's")
        app.use(Pictures())
        await app.loadModel()
        XCTAssertNil(app.notice)
        await eventually("an answer") { !app.answers.isEmpty }
    }

    func testAnAnswerOutOfAListComesWithHowSureTheModelIs() async throws {
        let sure = Verdict("red", note: "67 % sure")
        let unsure = Verdict("Not sure", answer: "red", note: "perhaps red, 67 %", isSure: false)
        for (least, verdict) in [(0.6, sure), (0.7, unsure)] {
            let json = """
                {"title": "t", "presets": [{"question": "What colour?", "choices": ["red", "blue"]}, "How many?"],
                 "longestAnswer": 30, "leastConfidence": \(least)}
                """
            let app = AppModel(config: try AppConfig(json: Data(json.utf8)), conditions: Weather()) { _ in
                FakeEngine(step: .milliseconds(1))
            }
            let picture = Pictures(.picture)
            app.use(picture)
            await app.loadModel()
            await eventually("an answer") { app.answers["What colour?"] != nil }
            XCTAssertEqual(app.answers["What colour?"], verdict)
            XCTAssertEqual(picture.labels.last?.verdict, verdict)
            XCTAssertEqual(app.announcement, "What colour? \(verdict.spoken)")
            app.askAll()
            await eventually("the other answer") { app.answers.count == 2 }
            XCTAssertEqual(app.answers["How many?"]?.note, "")
            app.use(nil)
        }
    }

    func testTheSettingsSayHowMuchIsSeenAndWhatIsShown() async throws {
        let json = """
            {"title": "t", "presets": [{"question": "What colour?", "label": "Colour"}], "longestAnswer": 30, "crop": 0.25}
            """
        let app = AppModel(config: try AppConfig(json: Data(json.utf8)), conditions: Weather()) { _ in
            FakeEngine(step: .milliseconds(1))
        }
        let picture = Pictures(.picture)
        app.use(picture)
        XCTAssertEqual([app.reach, app.shownReach, picture.reach].map(\.size), [0.25, 0.25, 0.25])
        await app.loadModel()
        await eventually("an answer") { app.answers["What colour?"] != nil }
        XCTAssertEqual(app.label.question, "Colour")
        let said = app.announcement
        XCTAssertTrue(said.hasPrefix("Colour A stand-in answer to “What colour?”"), said)
        app.use(nil)
    }

    func testWhatTheModelIsNotSureOfIsSaidOnceHoweverLikely() async {
        let app = appModel()
        func answer(_ confidence: Double, _ text: String = "red") {
            app.didAnswer("What?", Answer(text: text, speed: Speed(), stop: .end, confidence: confidence))
        }
        answer(0.31)
        XCTAssertEqual(app.announcement, "What? Not sure, perhaps red, 31 %")
        answer(0.33)
        XCTAssertEqual(app.announcement, "What? Not sure, perhaps red, 31 %")
        XCTAssertEqual(app.label.verdict.note, "perhaps red, 33 %")
        answer(0.9)
        XCTAssertEqual(app.announcement, "What? red")
        answer(0.9, "")
        XCTAssertEqual(app.announcement, "What? No answer")
    }

    func testPictureDetailIsChosenAndRemembered() async {
        let (kept, looked) = (Kept(), Kept())
        let store = TileSizeStore(read: { kept.sizes.last }, write: { kept.add($0) })
        func start() -> AppModel {
            AppModel(config: config, conditions: Weather(), tileSizes: store) { _ in Sized(looked: looked) }
        }
        let app = start()
        XCTAssertEqual(app.details, [])
        app.use(Pictures(.picture))
        await app.loadModel()
        XCTAssertEqual(app.details.map(\.name), ["Fine, 448 pixels", "Medium, 336 pixels", "Fast, 224 pixels"])
        XCTAssertEqual(app.tileSize, 336)
        await eventually("an answer") { app.answers.count == 1 }
        await app.choose(tileSize: 224)
        await eventually("another answer") { app.answers.count == 1 && looked.sizes == [224] }
        let again = start()
        await again.loadModel()
        XCTAssertEqual(again.tileSize, 224)
        XCTAssertEqual(looked.sizes, [224, 224])
        kept.add(100)  // of another model
        let third = start()
        await third.loadModel()
        XCTAssertEqual(third.tileSize, 336)
    }

    func testOneSizeOffersNoChoice() async {
        let app = appModel(Weather(), Stuck())
        await app.loadModel()
        XCTAssertEqual(app.details, [])
        XCTAssertNil(app.tileSize)
        XCTAssertEqual(PictureDetail.all(of: [448]), [])
        XCTAssertEqual(PictureDetail.all(of: [224, 448]).map(\.name), ["Fine, 448 pixels", "Fast, 224 pixels"])
    }

    func testAQuestionThatCannotBeAskedLeavesTheModelLoaded() async {
        let app = appModel(Weather(), Stuck(error: .input("the question holds <img>")))
        app.use(Pictures())
        await app.loadModel()
        await eventually("the notice") { app.notice?.subject == .question }
        XCTAssertTrue(app.isReady)
        await app.selfTest()
        XCTAssertEqual(app.checks.map(\.passed), [false])
    }

    func testOutOfMemoryUnloadsTheModel() async {
        let app = appModel(Weather(), Stuck(error: .memory(needed: 2, available: 1)))
        app.use(Pictures())
        await app.loadModel()
        await eventually("the notice") { app.notice?.failure.code == .memory }
        XCTAssertFalse(app.isReady)
        XCTAssertEqual(app.pill, .init(words: "Stopped", tone: .bad))
    }
}

/// What was said from any thread.
private final class Kept: @unchecked Sendable {
    private let lock = NSLock()
    private var all: [Int] = []

    var sizes: [Int] { lock.withLock { all } }
    func add(_ size: Int) { lock.withLock { all.append(size) } }
}

/// The stand-in with sizes, which says what it was told to look with.
private struct Sized: Engine {
    let looked: Kept
    let inner = FakeEngine(step: .milliseconds(1))
    var info: ModelInfo { ModelInfo(facts: [], tileSizes: [336, 448, 224]) }

    func ask(_ frame: Frame, _ question: String, form: Form?, maxTokens: Int, onText: @escaping OnText) async throws
        -> Answer
    {
        try await inner.ask(frame, question, form: form, maxTokens: maxTokens, onText: onText)
    }

    func useTiles(of size: Int) async throws { looked.add(size) }
    func selfTest() async throws -> [CheckRow] { [] }
    func trim() async {}
}

private actor Tries {
    private var count = 0
    func next() -> Int {
        count += 1
        return count
    }
}
