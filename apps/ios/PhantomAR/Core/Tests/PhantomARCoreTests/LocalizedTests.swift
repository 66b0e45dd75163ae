import XCTest

@testable import PhantomARCore

final class LocalizedTests: XCTestCase {
    func testWithoutACatalogueItIsEnglishWithEachValueInItsPlace() {
        XCTAssertEqual(localized("perhaps %1$@, %2$@", "red", "30 %"), "perhaps red, 30 %")
        XCTAssertEqual(localized("%1$@ × %1$@ pixels", "448"), "448 × 448 pixels")
        XCTAssertEqual(localized("Paused"), "Paused")
    }
}
