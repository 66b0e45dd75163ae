/** Answers out of a list: the choices' tokens as a tree, which of them may follow, and how likely each choice is. */

import { Failure } from '../failure'
import { logSum } from '../model/confidence'
import { type Decoded, largest } from '../model/decoding'
import type { Graphs } from '../model/graphs'
import { type Constraint, likeliest } from './constraint'
import type { Likelihood } from './form'

interface Node {
  readonly children: Map<number, Node>
  /** The choice that is whole here. */
  choice: number | null
}

/** The tokens of choices; what two begin with alike is there once. */
export class ChoiceTree {
  readonly root: Node = { children: new Map(), choice: null }
  /** Tokens of the longest choice. */
  readonly depth: number

  constructor(
    readonly choices: readonly string[],
    private readonly tokens: readonly (readonly number[])[],
    readonly endIds: readonly number[],
  ) {
    this.depth = Math.max(...tokens.map(({ length }) => length))
    for (const [number, ids] of tokens.entries()) {
      let node = this.root
      for (const id of ids) {
        const child = node.children.get(id) ?? { children: new Map(), choice: null }
        node.children.set(id, child)
        node = child
      }
      if (node.choice !== null) {
        throw new Failure('prompt', `To this model, choices ${node.choice + 1} and ${number + 1} are the same. Reword one.`)
      }
      node.choice = number
    }
  }

  /** The tokens of a choice. */
  idsOf(choice: string): readonly number[] {
    return this.tokens[this.choices.indexOf(choice)] ?? []
  }

  /**
   * How likely each choice is, the likeliest first: the probability of its tokens and of an end token after them, over
   * that of all choices together. A call of the decoder for each token of the tree.
   *
   * `begun` is what the prompt ended with, which stays as it is. `step` is called before each decoder call; when it says
   * false there is no ranking.
   *
   * @throws {Failure} `model` for logits that are not finite.
   */
  async rank(graphs: Graphs, begun: Decoded, step: () => Promise<boolean>): Promise<Likelihood[]> {
    const scores = new Float64Array(this.choices.length) // logarithms
    const visit = async (node: Node, { logits, cache }: Decoded, score: number): Promise<boolean> => {
      largest(logits) // throws unless they are finite
      const total = logSum(logits)
      if (node.choice !== null) scores[node.choice] = score + logSum(logits, this.endIds) - total
      for (const [id, child] of node.children) {
        if (!(await step())) return false
        const next = await graphs.decode(await graphs.embed([id]), cache)
        const isWhole = await visit(child, next, score + logits[id] - total)
        graphs.free(next.cache)
        if (!isWhole) return false
      }
      return true
    }
    if (!(await visit(this.root, begun, 0))) return []
    const total = logSum(scores)
    const likelihoods = this.choices.map((text, n) => ({ text, probability: Math.exp(scores[n] - total) }))
    return likelihoods.sort((a, b) => b.probability - a.probability)
  }
}

/** One answer that is to be one of some choices, token by token. */
export class ChoiceConstraint implements Constraint {
  private node: Node

  constructor(private readonly tree: ChoiceTree) {
    this.node = tree.root
  }

  choose(logits: Float32Array): number {
    const top = largest(logits)
    const { children, choice } = this.node
    const allowed = [...children.keys(), ...(choice === null ? [] : this.tree.endIds)]
    return allowed.includes(top) ? top : likeliest(logits, allowed)
  }

  append(id: number): void {
    this.node = this.node.children.get(id) ?? this.node
  }

  get isComplete(): boolean {
    return this.node.children.size === 0
  }
}
