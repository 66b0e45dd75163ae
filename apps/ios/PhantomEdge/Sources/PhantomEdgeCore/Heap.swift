/// A binary heap: `pop` gives the element that comes before all others.
struct Heap<Element> {
    private var elements: [Element]
    private let comesBefore: (Element, Element) -> Bool

    /// From any elements, in time proportional to their number.
    init(_ elements: [Element] = [], comesBefore: @escaping (Element, Element) -> Bool) {
        self.elements = elements
        self.comesBefore = comesBefore
        for place in stride(from: elements.count / 2 - 1, through: 0, by: -1) { sink(place) }
    }

    mutating func push(_ element: Element) {
        elements.append(element)
        var place = elements.count - 1
        while place > 0, comesBefore(elements[place], elements[(place - 1) / 2]) {
            elements.swapAt(place, (place - 1) / 2)
            place = (place - 1) / 2
        }
    }

    mutating func pop() -> Element? {
        guard let last = elements.popLast() else { return nil }
        guard let first = elements.first else { return last }
        elements[0] = last
        sink(0)
        return first
    }

    private mutating func sink(_ start: Int) {
        var place = start
        while true {
            let children = [2 * place + 1, 2 * place + 2].filter { $0 < elements.count }
            guard let child = children.min(by: { comesBefore(elements[$0], elements[$1]) }),
                comesBefore(elements[child], elements[place])
            else { return }
            elements.swapAt(place, child)
            place = child
        }
    }
}
