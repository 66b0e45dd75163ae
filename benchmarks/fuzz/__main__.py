"""Runs damaged inputs over every kind of file and says what broke a promise.

    python -m benchmarks.fuzz --count 10000 --out fuzz.json --corpus /tmp/fuzz-corpus

A run that was stopped goes on when it is repeated with the same --out.
`--only KIND --seed N --count 1` repeats one input.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.fuzz.corpus import build
from benchmarks.fuzz.kinds import available, prepare, warm_up
from benchmarks.fuzz.workers import Outcome, outcomes

SAVED_EVERY = 50


def jobs_of(kinds: Sequence[str], count: int, seed: int) -> list[tuple[str, int]]:
    """``count`` inputs, the kinds in turn, each kind's seeds counted from ``seed``."""
    return [(kinds[n % len(kinds)], seed + n // len(kinds)) for n in range(count)]


def summary(results: Sequence[Outcome]) -> dict[str, Any]:
    """What a report says of many outcomes."""
    codes = Counter(str(result.code) for result in results)
    by_kind: dict[str, Counter[str]] = {}
    for result in results:
        by_kind.setdefault(result.kind, Counter())[result.fault or "right"] += 1
    return {
        "inputs": len(results),
        "kinds": len(by_kind),
        "right": sum(not result.fault for result in results),
        "faults": dict(Counter(result.fault for result in results if result.fault)),
        "exit codes": dict(sorted(codes.items())),
        "slowest": max((result.seconds for result in results), default=0.0),
        "most memory": max((result.memory for result in results), default=0),
        "longest message": max((len(line) for r in results for line in r.text.splitlines()), default=0),
        "by kind": {kind: dict(counts) for kind, counts in sorted(by_kind.items())},
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", help="only this kind; may be repeated")
    parser.add_argument("--corpus", type=Path, default=Path("build/fuzz-corpus"))
    parser.add_argument("--out", type=Path, help="report, and where a stopped run goes on from")
    given = parser.parse_args(arguments)
    corpus = build(given.corpus.absolute())
    warm_up(corpus)
    kinds = given.only or available(corpus)
    results = _earlier(given.out)
    known = {(result.kind, result.seed) for result in results}
    jobs = [job for job in jobs_of(kinds, given.count, given.seed) if job not in known]
    start = time.monotonic()
    for number, result in enumerate(outcomes(jobs, partial(prepare, corpus)), start=1):
        results.append(result)
        if result.fault or given.only:
            line = result.text.strip().replace("\n", " | ")[-300:]
            what = f"{result.fault or 'right'}: {result.kind} {result.seed}"
            print(f"{what}: {result.code}: {line}", flush=True)
        if given.out and number % SAVED_EVERY == 0:
            _save(given.out, results)
            rate = number / (time.monotonic() - start)
            print(f"{len(results)} inputs, {rate:.1f} a second", file=sys.stderr, flush=True)
    if given.out:
        _save(given.out, results)
    print(json.dumps(summary(results), indent=1))
    return int(any(result.fault for result in results))


def _earlier(path: Path | None) -> list[Outcome]:
    if path is None or not path.exists():
        return []
    return [Outcome(**{**row, "left": tuple(row["left"])}) for row in json.loads(path.read_text())["rows"]]


def _save(path: Path, results: list[Outcome]) -> None:
    partial_path = path.with_suffix(".partial")
    rows = [asdict(result) for result in results]
    partial_path.write_text(json.dumps({"summary": summary(results), "rows": rows}))
    partial_path.replace(path)


if __name__ == "__main__":
    sys.exit(main())
