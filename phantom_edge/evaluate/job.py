"""The whole job: which questions, and the model or models that answer them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from phantom_edge.bundle.folder import Bundle
from phantom_edge.errors import InputError
from phantom_edge.evaluate.ask import OnReply, evaluate, no_replies
from phantom_edge.evaluate.candidate import Candidate
from phantom_edge.evaluate.items import Suite
from phantom_edge.evaluate.result import SUFFIX, EvalResult, read_records
from phantom_edge.evaluate.vocabulary import gone_pieces
from phantom_edge.runtime.pictures import PictureCache

Watch = Callable[[str], OnReply]
"""Called with a model's name before its questions; gives what is called after each reply."""


def unwatched(name: str) -> OnReply:
    """A :data:`Watch` that shows nothing."""
    return no_replies


def build_suite(
    *,
    benchmark: str | None = None,
    data: str | Path | None = None,
    tasks: Sequence[str] = (),
    samples: int | None = None,
    split: str | None = None,
    conditions: Sequence[str] = (),
    limit: int | None = None,
    max_tokens: int | None = None,
) -> Suite:
    """The scene tasks, or a ``benchmark`` from ``data``; of these ``tasks``, so many per task and in all.

    With ``conditions`` ("all", or of :data:`phantom_edge.scenes.view.CONDITIONS`) the scenes are on papers,
    before textures and so on, and so many questions are for each condition.

    Raises :class:`InputError` for what is unknown or missing, and for options that do not go together.

    >>> len(pe.build_suite(tasks=["colour", "count"], samples=5).items)
    10
    """
    for name, value in (("--samples", samples), ("--limit", limit), ("--max-tokens", max_tokens)):
        if value is not None and value < 1:
            raise InputError(f"{name} is {value}; it must be at least 1")
    if benchmark is None:
        suite = _scenes(data, tasks, samples, split, conditions)
    elif conditions:
        raise InputError("--condition is for the scene tasks; leave out --benchmark")
    else:
        suite = _benchmark(benchmark, data, tasks, samples, split)
    suite = suite.fewer(total=limit)
    return suite if max_tokens is None else suite.capped(max_tokens)


def _scenes(
    data: str | Path | None,
    tasks: Sequence[str],
    samples: int | None,
    split: str | None,
    conditions: Sequence[str],
) -> Suite:
    from phantom_edge.evaluate.scene_conditions import condition_suite
    from phantom_edge.evaluate.scene_tasks import SAMPLES, SPLIT, scene_suite

    if data is not None:
        raise InputError("--data is the folder of a benchmark; say which with --benchmark")
    if conditions:
        return condition_suite(conditions, tasks, samples=samples or SAMPLES, split=split or SPLIT)
    return scene_suite(tasks, samples=samples or SAMPLES, split=split or SPLIT)


def _benchmark(
    name: str, data: str | Path | None, tasks: Sequence[str], samples: int | None, split: str | None
) -> Suite:
    from phantom_edge.evaluate.benchmarks import benchmark_suite

    if data is None:
        raise InputError(f"--benchmark {name} needs --data, the folder with your copy of it")
    if split is not None:
        raise InputError("--split is for the scene tasks; a benchmark has one split with answers")
    suite = benchmark_suite(name, data)
    return (suite.only(tasks) if tasks else suite).fewer(per_task=samples)


def evaluate_models(
    models: Sequence[str | Path | None],
    suite: Suite,
    watch: Watch = unwatched,
    *,
    tile_sizes: Sequence[int] = (),
    pictures: PictureCache | None = None,
    constrain: bool = False,
    revision: str | None = None,
) -> list[EvalResult]:
    """Ask each model the same questions, one model after the other.

    A model is a bundle, a checkpoint (None for Nano), or a file of records of an earlier run. With
    ``tile_sizes`` each model, but for records, is asked once with tiles of each of these sides. With
    ``constrain`` it answers with the likeliest of an item's choices. Everything is checked before the first
    question. Only one model is loaded at a time. What ``pictures`` knows of a model and a picture is not
    computed again. ``revision`` is a branch, a tag or a commit of the first model's id.

    Raises :class:`InputError` for anything that cannot be opened, and for records of other questions.

    >>> suite = pe.build_suite(tasks=["colour"], samples=4)
    >>> [result.model for result in pe.evaluate_models(["nano-desktop", None], suite)]
    ['nano-desktop', 'phantom-nano']
    """
    if constrain and not any(item.choices for item in suite.items):
        raise InputError("--constrain: none of these questions has a closed set of answers; leave it out")
    candidates: list[EvalResult | Candidate] = []
    for n, model in enumerate(models):
        kept, at = _records(model, suite), None if n else revision
        sizes = tile_sizes or (None,)
        candidates += [kept] if kept else [Candidate.of(model, size, revision=at) for size in sizes]
    evaluated = partial(_evaluate, suite=suite, watch=watch, pictures=pictures, constrain=constrain)
    results = [c if isinstance(c, EvalResult) else evaluated(c) for c in candidates]
    names: dict[str, int] = {}
    for result in results:
        names[result.model] = names.get(result.model, 0) + 1
        if names[result.model] > 1:
            result.model = f"{result.model} ({names[result.model]})"
    for candidate, result in zip(candidates, results, strict=True):
        if isinstance(candidate, Candidate) and isinstance(candidate.model, Bundle):
            result.gone = gone_pieces(candidate.model, [other for other in results if other is not result])
    return results


def _evaluate(
    candidate: Candidate, suite: Suite, watch: Watch, pictures: PictureCache | None, constrain: bool
) -> EvalResult:
    on_reply = watch(candidate.name)
    session = candidate.open(pictures=pictures)
    result = evaluate(session, suite.items, on_reply, constrain=constrain)
    result.model, result.runs_as, result.facts = candidate.name, candidate.runs_as(session), candidate.facts()
    return result


def _records(model: str | Path | None, suite: Suite) -> EvalResult | None:
    """The records of an earlier run, where ``model`` is a file of them."""
    if model is None or not str(model).endswith(SUFFIX) or not Path(model).is_file():
        return None
    return read_records(model, suite)
