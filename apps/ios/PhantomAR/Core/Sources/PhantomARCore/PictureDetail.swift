import Foundation

/// How finely the model looks: one of its sizes of tiles, with a name for a user.
public struct PictureDetail: Equatable, Sendable {
    /// Side of a tile in pixels.
    public let size: Int
    public let name: String

    /// A choice for each size, the finest first; none where there is only one.
    public static func all(of sizes: [Int]) -> [PictureDetail] {
        guard sizes.count > 1 else { return [] }
        return sizes.sorted(by: >).enumerated().map { n, size in
            let side = String(size)
            if n == 0 { return PictureDetail(size: size, name: localized("Fine, %1$@ pixels", side)) }
            let isLast = n == sizes.count - 1
            let name = isLast ? localized("Fast, %1$@ pixels", side) : localized("Medium, %1$@ pixels", side)
            return PictureDetail(size: size, name: name)
        }
    }
}

/// Keeps the size that the user chose for the next start.
public struct TileSizeStore: Sendable {
    public let read: @Sendable () -> Int?
    public let write: @Sendable (Int) -> Void

    public init(read: @escaping @Sendable () -> Int?, write: @escaping @Sendable (Int) -> Void) {
        (self.read, self.write) = (read, write)
    }

    /// Forgets at once.
    public static let none = TileSizeStore(read: { nil }, write: { _ in })

    /// The app's own settings.
    public static let defaults = TileSizeStore(
        read: { UserDefaults.standard.object(forKey: "tileSize") as? Int },
        write: { UserDefaults.standard.set($0, forKey: "tileSize") })
}
