/// One sequence's keys and values, made by a backend and only understood by it.
public protocol DecoderCache: AnyObject, Sendable {}

/// Runs the three graphs of one bundle. Arrays are float32 here, whatever the graphs work in.
///
/// A cache has no length of its own: positions are given with every call, and what lies beyond them is neither read
/// nor kept. So a conversation is taken back by using an earlier position again.
public protocol Backend: Sendable {
    /// What runs it, for reports.
    var name: String { get }

    /// A tile `[3, S, S]` of RGB in 0..1 to image tokens `[N, hidden]`; S is any of the bundle's sizes. Only the vision
    /// encoder of the size that was last used stays loaded.
    func encode(tile: [Float]) async throws -> [Float]

    /// Ids to embeddings `[ids, hidden]`; at most the bundle's `chunk` at once.
    func embed(_ ids: [Int]) async throws -> [Float]

    /// An empty cache. A backend whose runtime holds only one ends the earlier one with it.
    func makeCache() async throws -> any DecoderCache

    /// Continues a cache at `position` with embeddings `[S, hidden]`, S up to `chunk`: logits of the last of them.
    func decode(_ embeddings: [Float], at position: Int, cache: any DecoderCache) async throws -> [Float]

    /// Gives memory back that can be had again, such as a loaded vision encoder.
    func trim() async
}
