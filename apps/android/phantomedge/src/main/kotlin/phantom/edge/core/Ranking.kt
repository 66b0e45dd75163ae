package phantom.edge.core

import kotlin.math.exp

/**
 * The exact likelihood of each choice: the model's own softmax along the choice's tokens and then for any end token.
 *
 * [decode] appends a token at a depth behind the prompt and gives the logits after it. The tree is walked depth first,
 * and each call writes over what an earlier branch left at its place.
 */
internal class Ranking(
    private val tree: ChoiceTree,
    private val ends: List<Int>,
    private val decode: (token: Int, depth: Int) -> FloatArray,
) {
    private class Branch(val token: Int, val node: ChoiceTree.Node, val depth: Int, val score: Double)

    /** The choices, the likeliest first, of which [logits] are those of the prompt. */
    fun of(logits: FloatArray, choices: List<String>): List<Likelihood> {
        val scores = DoubleArray(choices.size)
        val waiting = ArrayList<Branch>()
        fun follow(node: ChoiceTree.Node, depth: Int, score: Double, logits: FloatArray) {
            val total = logSum(logits)
            node.choice?.let { scores[it] = score + logSum(FloatArray(ends.size) { n -> logits[ends[n]] }) - total }
            for ((token, child) in node.children.entries.reversed()) {
                waiting += Branch(token, child, depth, score + logits[token] - total)
            }
        }
        follow(tree.root, 0, 0.0, logits)
        while (waiting.isNotEmpty()) {
            val next = waiting.removeAt(waiting.size - 1)
            follow(next.node, next.depth + 1, next.score, decode(next.token, next.depth))
        }
        val top = scores.max()
        val weights = scores.map { exp(it - top) }
        val all = choices.zip(weights) { text, weight -> Likelihood(text, weight / weights.sum()) }
        return all.sortedByDescending { it.probability }
    }
}
