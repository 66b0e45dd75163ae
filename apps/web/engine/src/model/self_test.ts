/** The bundle's own test: recorded inputs with what torch computed for the same integers, run again on this device. */

import { type Check, type Golden, judgeStage, TieJudge, titleOf } from '../bundle/golden'
import type { Manifest } from '../bundle/manifest'
import { Failure } from '../failure'
import { pixelValues } from '../image/resize'
import { append, prefill } from './decoding'
import type { Graphs } from './graphs'

/**
 * Runs every stage on its recorded input, so that a fault shows where it is. Calls `onCheck` as each is judged.
 *
 * The recorded tokens are appended whatever this device would choose: one tie must not count against all that follow.
 */
export async function runGolden(
  graphs: Graphs,
  manifest: Manifest,
  golden: Golden,
  onCheck: (check: Check) => void,
): Promise<void> {
  judgeStage(golden, 'pixel_values', pixelValues(golden.image, manifest.tiles.size)).forEach(onCheck)
  const features = await graphs.encodeImage(golden.pixel_values)
  judgeStage(golden, 'image_features', features).forEach(onCheck)
  let { logits, cache } = await prefill(graphs, manifest, golden.input_ids, graphs.emptyCache(), features)
  judgeStage(golden, 'prefill_logits', logits).forEach(onCheck)
  const ties = new TieJudge(golden)
  ties.add(logits)
  for (const token of golden.generated_ids.slice(0, -1)) {
    ;({ logits, cache } = await append(graphs, token, cache))
    ties.add(logits)
  }
  graphs.free(cache)
  onCheck(ties.check())
}

/** As {@link runGolden}. @throws {Failure} `model`, naming the first check that does not pass. */
export function requireGolden(graphs: Graphs, manifest: Manifest, golden: Golden): Promise<void> {
  return runGolden(graphs, manifest, golden, (check) => {
    if (!check.passed) throw new Failure('model', `${titleOf(check)}: ${check.value.toExponential(1)}`)
  })
}
