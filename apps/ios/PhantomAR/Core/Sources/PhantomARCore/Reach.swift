import PhantomEdge

/// How much of the picture the model looks at: a square around the pin, or the largest one that can be seen.
public struct Reach: Equatable, Sendable {
    static let step = 0.1

    /// The square's side over the shorter side of what can be seen, one of `Crop.sizes`.
    public let size: Double
    public let isWhole: Bool

    /// Sizes beyond `Crop.sizes` become its ends.
    public init(size: Double = Crop.defaultSize, isWhole: Bool = false) {
        (self.size, self.isWhole) = (clamp(size, Crop.sizes.lowerBound, Crop.sizes.upperBound), isWhole)
    }

    /// As two fingers that move apart, or together, make it.
    public func scaled(by factor: Double) -> Reach { Reach(size: size * factor) }

    /// A step more; after the largest square comes the whole picture.
    public var more: Reach { size < Crop.sizes.upperBound - 1e-9 ? stepped(1) : Reach(size: size, isWhole: true) }

    /// A step less; the whole picture becomes the square that it was before.
    public var less: Reach { isWhole ? Reach(size: size) : stepped(-1) }

    /// What a screen reader says of it.
    public var words: String {
        let share = "\(Int((100 * size).rounded())) %"
        return isWhole ? localized("The whole picture") : localized("%1$@ of the shorter side", share)
    }

    private func stepped(_ steps: Double) -> Reach {
        Reach(size: ((size + steps * Self.step) / Self.step).rounded() * Self.step)
    }
}
