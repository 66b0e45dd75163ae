// The part of SwiftUI that the app uses, as declared in iOS 18; nothing here runs. A literal is a key of the string
// catalogue (LocalizedStringKey); text that is computed is shown as it is.
import Combine
@_exported import Observation
@_exported import UIKit

extension Never: View { public var body: Never { fatalError() } }

@MainActor @preconcurrency public protocol View {
    associatedtype Body: View
    @ViewBuilder var body: Body { get }
}
@resultBuilder public enum ViewBuilder {
    public static func buildBlock() -> EmptyView { EmptyView() }
    public static func buildExpression<V: View>(_ view: V) -> V { view }
    public static func buildBlock<each V: View>(_ view: repeat each V) -> some View { EmptyView() }
    public static func buildBlock<V: View>(_ view: V) -> V { view }
    public static func buildIf<V: View>(_ view: V?) -> V? { view }
    public static func buildEither<A: View, B: View>(first: A) -> Either<A, B> { fatalError() }
    public static func buildEither<A: View, B: View>(second: B) -> Either<A, B> { fatalError() }
}
extension Optional: View where Wrapped: View { public var body: Never { fatalError() } }
public struct Either<A: View, B: View>: View { public var body: Never { fatalError() } }
public struct EmptyView: View {
    public nonisolated init() {}
    public var body: Never { fatalError() }
}
public struct AnyView: View {
    public init<V: View>(_ view: V) {}
    public var body: Never { fatalError() }
}

@MainActor @preconcurrency public protocol Scene {}
@resultBuilder public enum SceneBuilder { public static func buildBlock<S: Scene>(_ scene: S) -> S { scene } }
public struct WindowGroup<Content: View>: Scene { public init(@ViewBuilder content: () -> Content) {} }
@MainActor @preconcurrency public protocol App {
    associatedtype Body: Scene
    @SceneBuilder var body: Body { get }
    init()
}
extension App { public static func main() {} }

@propertyWrapper public struct State<Value> {
    public init(wrappedValue: Value) {}
    public init(initialValue: Value) {}
    public var wrappedValue: Value { get { fatalError() } nonmutating set {} }
    public var projectedValue: Binding<Value> { fatalError() }
}
@propertyWrapper public struct Binding<Value> {
    public init(get: @escaping () -> Value, set: @escaping (Value) -> Void) {}
    public var wrappedValue: Value { get { fatalError() } nonmutating set {} }
    public var projectedValue: Binding<Value> { self }
}
@dynamicMemberLookup @propertyWrapper public struct Bindable<Value: AnyObject & Observable> {
    public init(wrappedValue: Value) { self.wrappedValue = wrappedValue }
    public var wrappedValue: Value
    public var projectedValue: Bindable<Value> { self }
    public subscript<S>(dynamicMember path: ReferenceWritableKeyPath<Value, S>) -> Binding<S> { fatalError() }
}
@propertyWrapper public struct Environment<Value> {
    public init(_ path: KeyPath<EnvironmentValues, Value>) {}
    public var wrappedValue: Value { fatalError() }
}
public struct DismissAction { public func callAsFunction() {} }
public enum ScenePhase { case background, inactive, active }
public enum ColorScheme: Sendable { case light, dark }
public struct EnvironmentValues {
    public var scenePhase: ScenePhase { fatalError() }
    public var dismiss: DismissAction { fatalError() }
    public var colorScheme: ColorScheme { get { fatalError() } set {} }
    public var dynamicTypeSize: DynamicTypeSize { get { fatalError() } set {} }
}

public protocol ShapeStyle {}
public struct Color: View, ShapeStyle, Sendable {
    public nonisolated init(red: Double, green: Double, blue: Double, opacity: Double = 1) {}
    public static let black = Color(red: 0, green: 0, blue: 0)
    public static let white = Color(red: 1, green: 1, blue: 1)
    public static let clear = Color(red: 1, green: 1, blue: 1)
    public nonisolated func opacity(_ value: Double) -> Color { self }
    public var body: Never { fatalError() }
}
extension ShapeStyle where Self == Color {
    public static var white: Color { Color.white }
    public static var black: Color { Color.black }
}
extension UIColor { public convenience init(_ color: Color) { self.init(white: 0, alpha: 0) } }

public protocol Shape: View {}
extension Shape {
    public var body: Never { fatalError() }
    public func fill<S: ShapeStyle>(_ style: S) -> some View { EmptyView() }
}
public protocol InsettableShape: Shape {}
extension InsettableShape {
    public func strokeBorder<S: ShapeStyle>(_ style: S, lineWidth: CGFloat = 1) -> some View { EmptyView() }
}
public struct Circle: InsettableShape { public init() {} }
public struct Rectangle: InsettableShape { public init() {} }
public struct Capsule: InsettableShape { public init() {} }
public struct RoundedRectangle: InsettableShape { public init(cornerRadius: CGFloat) {} }

public struct LocalizedStringKey: ExpressibleByStringInterpolation, Equatable {
    public init(stringLiteral value: String) {}
    public init(stringInterpolation: StringInterpolation) {}
    public struct StringInterpolation: StringInterpolationProtocol {
        public init(literalCapacity: Int, interpolationCount: Int) {}
        public mutating func appendLiteral(_ literal: String) {}
        public mutating func appendInterpolation(_ text: String) {}
        public mutating func appendInterpolation(_ number: Int) {}
    }
}
public enum DynamicTypeSize: Hashable, Comparable, Sendable { case small, medium, large, accessibility1, accessibility2 }
@propertyWrapper public struct ScaledMetric<Value: BinaryFloatingPoint> {
    public init(wrappedValue: Value) { self.wrappedValue = wrappedValue }
    public let wrappedValue: Value
}

public struct Font: Sendable {
    public enum Weight: Sendable { case regular, semibold, bold }
    public static let body = Font(), title = Font(), headline = Font(), subheadline = Font(), footnote = Font(), caption = Font()
    public func weight(_ weight: Weight) -> Font { self }
    public func monospacedDigit() -> Font { self }
}
public struct Text: View {
    public init(_ key: LocalizedStringKey) {}
    public init(verbatim text: String) {}
    @_disfavoredOverload public init<S: StringProtocol>(_ text: S) {}
    public var body: Never { fatalError() }
}
public struct Image: View {
    public init(systemName: String) {}
    public init(uiImage: UIImage) {}
    public init(decorative image: CGImage, scale: CGFloat) {}
    public func resizable() -> Image { self }
    public var body: Never { fatalError() }
}
public struct Label: View {
    public init(_ key: LocalizedStringKey, systemImage: String) {}
    @_disfavoredOverload public init<S: StringProtocol>(_ title: S, systemImage: String) {}
    public var body: Never { fatalError() }
}
public struct Button<L: View>: View {
    public init(action: @escaping @MainActor () -> Void, @ViewBuilder label: () -> L) {}
    public var body: Never { fatalError() }
}
extension Button where L == Text {
    public init(_ key: LocalizedStringKey, action: @escaping @MainActor () -> Void) {}
    @_disfavoredOverload public init<S: StringProtocol>(_ title: S, action: @escaping @MainActor () -> Void) {}
}
public struct Link: View {
    public init(_ key: LocalizedStringKey, destination: URL) {}
    public var body: Never { fatalError() }
}
public struct Spacer: View {
    public init(minLength: CGFloat? = nil) {}
    public var body: Never { fatalError() }
}
public struct ProgressView: View {
    public init(value: Double?, total: Double = 1) {}
    public var body: Never { fatalError() }
}
public struct Slider<L: View>: View {
    public init<V: BinaryFloatingPoint>(
        value: Binding<V>, in bounds: ClosedRange<V>, step: V.Stride = 1, @ViewBuilder label: () -> L,
        onEditingChanged: @escaping (Bool) -> Void = { _ in }
    ) where V.Stride: BinaryFloatingPoint {}
    public var body: Never { fatalError() }
}
public struct Toggle: View {
    public init(_ key: LocalizedStringKey, isOn: Binding<Bool>) {}
    public var body: Never { fatalError() }
}
@MainActor @preconcurrency public protocol ToggleStyle {}
public struct ButtonToggleStyle: ToggleStyle { public nonisolated init() {} }
extension ToggleStyle where Self == ButtonToggleStyle { public static var button: ButtonToggleStyle { .init() } }
@MainActor @preconcurrency public protocol Gesture { associatedtype Value }
public struct MagnifyGesture: Gesture {
    public struct Value: Equatable, Sendable { public var magnification: CGFloat }
    public init(minimumScaleDelta: CGFloat = 0.01) {}
}
public struct Heard<G: Gesture>: Gesture { public typealias Value = G.Value }
extension Gesture {
    public func onChanged(_ action: @escaping (Value) -> Void) -> Heard<Self> { fatalError() }
    public func onEnded(_ action: @escaping (Value) -> Void) -> Heard<Self> { fatalError() }
}
public enum AccessibilityAdjustmentDirection: Sendable { case increment, decrement }
public struct TextField: View {
    public init(_ key: LocalizedStringKey, text: Binding<String>) {}
    public var body: Never { fatalError() }
}
public struct HStack<C: View>: View {
    public init(alignment: VerticalAlignment = .center, spacing: CGFloat? = nil, @ViewBuilder content: () -> C) {}
    public var body: Never { fatalError() }
}
public struct VStack<C: View>: View {
    public init(alignment: HorizontalAlignment = .center, spacing: CGFloat? = nil, @ViewBuilder content: () -> C) {}
    public var body: Never { fatalError() }
}
public struct ZStack<C: View>: View {
    public init(alignment: Alignment = .center, @ViewBuilder content: () -> C) {}
    public var body: Never { fatalError() }
}
public protocol Layout {}
public struct HStackLayout: Layout { public init(alignment: VerticalAlignment = .center, spacing: CGFloat? = nil) {} }
public struct VStackLayout: Layout { public init(alignment: HorizontalAlignment = .center, spacing: CGFloat? = nil) {} }
@MainActor public struct AnyLayout: Layout {
    public init<L: Layout>(_ layout: L) {}
    public func callAsFunction<C: View>(@ViewBuilder _ content: () -> C) -> some View { EmptyView() }
}
public enum VerticalAlignment: Sendable { case top, center, bottom }
public enum HorizontalAlignment: Sendable { case leading, center, trailing }
public enum Alignment: Sendable { case center, leading, trailing, top, bottom, topLeading }
public enum TextAlignment: Sendable { case leading, center, trailing }
public struct Axis: Sendable {
    public struct Set: OptionSet, Sendable {
        public let rawValue: Int8
        public init(rawValue: Int8) { self.rawValue = rawValue }
        public static let horizontal = Set(rawValue: 1), vertical = Set(rawValue: 2)
    }
}
public enum Edge: Int8, Sendable {
    case top, leading, bottom, trailing
    public struct Set: OptionSet, Sendable {
        public let rawValue: Int8
        public init(rawValue: Int8) { self.rawValue = rawValue }
        public static let all = Set(rawValue: 15), horizontal = Set(rawValue: 1), vertical = Set(rawValue: 2)
        public static let bottom = Set(rawValue: 4), trailing = Set(rawValue: 8)
    }
}
public struct EdgeInsets { public init(top: CGFloat, leading: CGFloat, bottom: CGFloat, trailing: CGFloat) {} }
public struct ScrollView<C: View>: View {
    public init(_ axes: Axis.Set = .vertical, showsIndicators: Bool = true, @ViewBuilder content: () -> C) {}
    public var body: Never { fatalError() }
}
public struct GeometryProxy { public var size: CGSize { .zero } }
public struct GeometryReader<C: View>: View {
    public init(@ViewBuilder content: @escaping (GeometryProxy) -> C) {}
    public var body: Never { fatalError() }
}
public struct ForEach<Data: RandomAccessCollection, ID: Hashable, C: View>: View {
    public init(_ data: Data, id: KeyPath<Data.Element, ID>, @ViewBuilder content: @escaping (Data.Element) -> C) {}
    public var body: Never { fatalError() }
}
public struct NavigationStack<C: View>: View {
    public init(@ViewBuilder root: () -> C) {}
    public var body: Never { fatalError() }
}
public struct NavigationLink<D: View>: View {
    public init(_ key: LocalizedStringKey, @ViewBuilder destination: () -> D) {}
    public var body: Never { fatalError() }
}
public struct Form<C: View>: View {
    public init(@ViewBuilder content: () -> C) {}
    public var body: Never { fatalError() }
}
public struct Section<C: View>: View {
    public init(_ key: LocalizedStringKey, @ViewBuilder content: () -> C) {}
    public init(@ViewBuilder content: () -> C) {}
    public var body: Never { fatalError() }
}
public struct LabeledContent<L: View, C: View>: View {
    public init(@ViewBuilder content: () -> C, @ViewBuilder label: () -> L) {}
    public var body: Never { fatalError() }
}
extension LabeledContent where L == Text, C == Text {
    public init<V: StringProtocol>(_ key: LocalizedStringKey, value: V) {}
    @_disfavoredOverload public init<S: StringProtocol, V: StringProtocol>(_ title: S, value: V) {}
}
public struct Picker<S: Hashable, C: View>: View {
    public init(_ key: LocalizedStringKey, selection: Binding<S>, @ViewBuilder content: () -> C) {}
    public var body: Never { fatalError() }
}
public struct SubmitLabel: Sendable { public static let send = SubmitLabel() }
public protocol PrimitiveButtonStyle {}
public struct BorderedButtonStyle: PrimitiveButtonStyle {}
extension PrimitiveButtonStyle where Self == BorderedButtonStyle { public static var bordered: BorderedButtonStyle { .init() } }
public struct AccessibilityTraits: OptionSet, Sendable {
    public let rawValue: Int
    public init(rawValue: Int) { self.rawValue = rawValue }
    public static let isHeader = AccessibilityTraits(rawValue: 1), isSelected = AccessibilityTraits(rawValue: 2)
}
public struct AccessibilityChildBehavior: Sendable { public static let combine = AccessibilityChildBehavior() }
public enum AccessibilityNotification {
    public struct Announcement {
        public init(_ text: String) {}
        public func post() {}
    }
}

extension View {
    public func font(_ font: Font?) -> some View { EmptyView() }
    public func foregroundStyle<S: ShapeStyle>(_ style: S) -> some View { EmptyView() }
    public func padding(_ edges: Edge.Set = .all, _ length: CGFloat? = nil) -> some View { EmptyView() }
    public func padding(_ length: CGFloat) -> some View { EmptyView() }
    public func padding(_ insets: EdgeInsets) -> some View { EmptyView() }
    public func frame(width: CGFloat? = nil, height: CGFloat? = nil, alignment: Alignment = .center) -> some View {
        EmptyView()
    }
    public func frame(
        minWidth: CGFloat? = nil, idealWidth: CGFloat? = nil, maxWidth: CGFloat? = nil, minHeight: CGFloat? = nil,
        idealHeight: CGFloat? = nil, maxHeight: CGFloat? = nil, alignment: Alignment = .center
    ) -> some View { EmptyView() }
    public func position(x: CGFloat = 0, y: CGFloat = 0) -> some View { EmptyView() }
    public func position(_ point: CGPoint) -> some View { EmptyView() }
    public func background<S: ShapeStyle>(_ style: S) -> some View { EmptyView() }
    public func background<V: View>(_ view: V, alignment: Alignment = .center) -> some View { EmptyView() }
    @_disfavoredOverload public func background<V: View>(
        alignment: Alignment = .center, @ViewBuilder content: () -> V
    ) -> some View { EmptyView() }
    public func overlay<V: View>(_ view: V, alignment: Alignment = .center) -> some View { EmptyView() }
    public func overlay<V: View>(alignment: Alignment = .center, @ViewBuilder content: () -> V) -> some View { EmptyView() }
    public func clipShape<S: Shape>(_ shape: S) -> some View { EmptyView() }
    public func clipped() -> some View { EmptyView() }
    public func contentShape<S: Shape>(_ shape: S) -> some View { EmptyView() }
    public func opacity(_ value: Double) -> some View { EmptyView() }
    public func dynamicTypeSize<R: RangeExpression>(_ range: R) -> some View where R.Bound == DynamicTypeSize {
        EmptyView()
    }
    public func lineLimit(_ lines: Int?) -> some View { EmptyView() }
    public func minimumScaleFactor(_ factor: CGFloat) -> some View { EmptyView() }
    public func multilineTextAlignment(_ alignment: TextAlignment) -> some View { EmptyView() }
    public func scaledToFit() -> some View { EmptyView() }
    public func ignoresSafeArea(edges: Edge.Set = .all) -> some View { EmptyView() }
    public func allowsHitTesting(_ allows: Bool) -> some View { EmptyView() }
    public func disabled(_ disabled: Bool) -> some View { EmptyView() }
    public func tint(_ colour: Color?) -> some View { EmptyView() }
    public func tag<T: Hashable>(_ tag: T) -> some View { EmptyView() }
    public func preferredColorScheme(_ scheme: ColorScheme?) -> some View { EmptyView() }
    public func environment<V>(_ path: WritableKeyPath<EnvironmentValues, V>, _ value: V) -> some View { EmptyView() }
    public func buttonStyle<S: PrimitiveButtonStyle>(_ style: S) -> some View { EmptyView() }
    public func submitLabel(_ label: SubmitLabel) -> some View { EmptyView() }
    public func onSubmit(_ action: @escaping () -> Void) -> some View { EmptyView() }
    public func onAppear(perform action: (() -> Void)? = nil) -> some View { EmptyView() }
    public func onTapGesture(count: Int = 1, perform action: @escaping (CGPoint) -> Void) -> some View { EmptyView() }
    public func onChange<V: Equatable>(of value: V, initial: Bool = false, _ action: @escaping (V, V) -> Void) -> some View {
        EmptyView()
    }
    public func onReceive(_ publisher: NotificationCenter.Publisher, perform action: @escaping (Notification) -> Void)
        -> some View
    { EmptyView() }
    public func task(_ action: @escaping @Sendable @MainActor () async -> Void) -> some View { EmptyView() }
    public func sheet<C: View>(
        isPresented: Binding<Bool>, onDismiss: (() -> Void)? = nil, @ViewBuilder content: @escaping () -> C
    ) -> some View { EmptyView() }
    public func navigationTitle(_ key: LocalizedStringKey) -> some View { EmptyView() }
    @_disfavoredOverload public func navigationTitle<S: StringProtocol>(_ text: S) -> some View { EmptyView() }
    public func toolbar<C: View>(@ViewBuilder content: () -> C) -> some View { EmptyView() }
    public func accessibilityLabel(_ key: LocalizedStringKey) -> some View { EmptyView() }
    @_disfavoredOverload public func accessibilityLabel<S: StringProtocol>(_ text: S) -> some View { EmptyView() }
    public func accessibilityValue(_ key: LocalizedStringKey) -> some View { EmptyView() }
    @_disfavoredOverload public func accessibilityValue<S: StringProtocol>(_ text: S) -> some View { EmptyView() }
    public func accessibilityIdentifier(_ text: String) -> some View { EmptyView() }
    public func accessibilityAdjustableAction(_ handler: @escaping (AccessibilityAdjustmentDirection) -> Void)
        -> some View
    { EmptyView() }
    public func gesture<G: Gesture>(_ gesture: G) -> some View { EmptyView() }
    public func toggleStyle<S: ToggleStyle>(_ style: S) -> some View { EmptyView() }
    public func accessibilityHidden(_ hidden: Bool) -> some View { EmptyView() }
    public func accessibilityAddTraits(_ traits: AccessibilityTraits) -> some View { EmptyView() }
    public func accessibilityElement(children: AccessibilityChildBehavior) -> some View { EmptyView() }
}
extension NotificationCenter {
    public struct Publisher {}
    public func publisher(for name: Notification.Name, object: AnyObject? = nil) -> Publisher { Publisher() }
}
@MainActor public final class ImageRenderer<C: View> {
    public init(content: C) {}
    public var scale: CGFloat = 1
    public var cgImage: CGImage? { nil }
}
@MainActor @preconcurrency public struct UIViewRepresentableContext<R: UIViewRepresentable> {}
@MainActor @preconcurrency public protocol UIViewRepresentable: View where Body == Never {
    associatedtype UIViewType: UIView
    typealias Context = UIViewRepresentableContext<Self>
    func makeUIView(context: Context) -> UIViewType
    func updateUIView(_ view: UIViewType, context: Context)
}
extension UIViewRepresentable { public var body: Never { fatalError() } }
