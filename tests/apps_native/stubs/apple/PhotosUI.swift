import Foundation
import SwiftUI

public struct PHPickerFilter: Sendable { public static let images = PHPickerFilter() }
public struct PhotosPickerItem: Equatable, Sendable {
    public func loadTransferable<T: Sendable>(type: T.Type) async throws -> T? { nil }
}
public struct PhotosPicker<Label: View>: View {
    public init(
        selection: Binding<PhotosPickerItem?>, matching filter: PHPickerFilter? = nil, @ViewBuilder label: () -> Label
    ) {}
    public var body: some View { EmptyView() }
}
