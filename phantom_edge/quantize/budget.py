"""Choosing a precision per module under a budget of bytes or of KL divergence.

Each module has a few options, each with bytes and a cost. Only those on the lower convex hull of a module can
be right for some price of a byte, and taking the steps along all hulls in order of what a byte buys gives,
for every budget that ends between two steps, the best choice there is (Everett 1963; Shoham and Gersho 1988).
What is left over of a budget is then spent on the steps that still fit.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

from phantom_edge.errors import InputError
from phantom_edge.numbers.recipe import Precision, Recipe, Rule
from phantom_edge.quantize.sensitivity import Option, Options, total

Choice = dict[str, Option]


@dataclass(frozen=True)
class Upgrade:
    """One step of one module, from ``before`` to the next option on its hull."""

    module: str
    before: Option
    after: Option

    @property
    def bytes(self) -> int:
        return self.after.bytes - self.before.bytes

    @property
    def gain(self) -> float:
        """Nats per byte."""
        return (self.before.kl - self.after.kl) / self.bytes


def hull(options: list[Option]) -> list[Option]:
    """Options by rising bytes and falling cost that lie on the lower convex hull.

    >>> fp16, int8, int4 = Precision(16), Precision(8), Precision(4, 32)
    >>> chosen = hull([Option(fp16, 8, 0.0), Option(int8, 4, 0.9), Option(int4, 2, 1.0)])
    >>> [str(option.precision) for option in chosen]                                  # int8 buys too little
    ['int4:32', 'fp16']
    """
    kept: list[Option] = []
    for option in sorted(options, key=lambda o: (o.bytes, o.kl)):
        if kept and option.kl >= kept[-1].kl:
            continue
        while len(kept) > 1 and _slope(kept[-2], kept[-1]) <= _slope(kept[-1], option):
            kept.pop()
        kept.append(option)
    return kept


def _slope(a: Option, b: Option) -> float:
    return (a.kl - b.kl) / max(b.bytes - a.bytes, 1)


def smallest(options: Options) -> Choice:
    """Every module at its fewest bytes."""
    return {name: hull(own)[0] for name, own in options.items()}


def upgrades(options: Options) -> list[Upgrade]:
    """All steps along all hulls, what a byte buys most with first; those of one module stay in order."""
    steps = [Upgrade(name, a, b) for name, own in options.items() for a, b in itertools.pairwise(hull(own))]
    return sorted(steps, key=lambda step: -step.gain)


def under_bytes(options: Options, budget: int, rest: int = 0) -> Choice:
    """The choice of least KL whose bytes, with ``rest`` for all that has no choice, stay within ``budget``.

    Raises :class:`InputError` when even the smallest choice is larger, saying how large it is.
    """
    choice = smallest(options)
    room = budget - rest - total(choice.values())[0]
    if room < 0:
        least = (budget - room) / 1e6
        raise InputError(f"a budget of {budget / 1e6:.2f} MB cannot be met: the least is {least:.2f} MB")
    blocked: set[str] = set()
    for step in upgrades(options):
        if step.module in blocked or step.bytes > room:
            blocked.add(step.module)  # its later steps begin where this one would have ended
            continue
        choice[step.module] = step.after
        room -= step.bytes
    return choice


def under_kl(options: Options, limit: float) -> Choice:
    """The smallest choice whose predicted KL is at most ``limit``; all upgrades when none is."""
    choice = smallest(options)
    kl = total(choice.values())[1]
    for step in upgrades(options):
        if kl <= limit:
            break
        choice[step.module] = step.after
        kl += step.after.kl - step.before.kl
    return choice


def meet_kl(options: Options, limit: float, measure: Callable[[Choice], float], tries: int = 5) -> Choice:
    """The smallest choice whose *measured* KL is at most ``limit``.

    The prediction is corrected by what the last measurement made of it. Raises :class:`InputError` when
    nothing that was tried, full upgrade included, stays within the limit; says what the best reached.
    """
    aim, best, least = limit, None, float("inf")
    for _ in range(tries):
        choice = under_kl(options, aim)
        measured, predicted = measure(choice), total(choice.values())[1]
        least = min(least, measured)
        if measured <= limit and (best is None or total(choice.values())[0] < total(best.values())[0]):
            best = choice
        if best is not None and measured > limit:
            break
        nearer = 0.95 * limit * predicted / measured if measured > 0 else float("inf")
        if measured <= limit and (nearer <= aim * 1.1 or choice == smallest(options)):
            break
        if measured > limit and choice == _largest(options):
            break
        aim = nearer if measured <= limit else min(nearer, 0.7 * aim)
    if best is None:
        best = _largest(options)
        least = min(least, measured_full := measure(best))
        if measured_full > limit:
            raise InputError(f"a budget of {limit:g} nats cannot be met: the least is {least:.3g} nats")
    return best


def _largest(options: Options) -> Choice:
    return {name: hull(own)[-1] for name, own in options.items()}


def recipe_of(choice: Choice, float_type: Precision, base: str = "mixed") -> Recipe:
    """A recipe that says for every module what was chosen and what it costs."""
    rules = tuple(
        Rule(name, option.precision, f"sensitivity: {option.kl:.2g} nats in {option.bytes} bytes")
        for name, option in choice.items()
    )
    return Recipe(base, rules, float_type)
