"""Choices under a budget, against all choices tried."""

import itertools
import random

import pytest

from phantom_edge.errors import InputError
from phantom_edge.numbers.recipe import FP16, INT8, Precision
from phantom_edge.quantize.budget import hull, meet_kl, recipe_of, smallest, under_bytes, under_kl, upgrades
from phantom_edge.quantize.sensitivity import Option, total

INT4 = Precision(4, 32)


def random_options(seed, modules=6):
    rng = random.Random(seed)
    made = {}
    for n in range(modules):
        size, cost = rng.randint(50, 400), 10 ** rng.uniform(-5, -2)
        made[f"text_decoder.layers.{n}.qkv"] = [
            Option(INT4, size, cost),
            Option(INT8, 2 * size, cost * rng.uniform(0.001, 0.5)),
            Option(FP16, 4 * size, 0.0),
        ]
    return made


def best_of_all(options, budget):
    choices = itertools.product(*options.values())
    return min(total(c)[1] for c in choices if total(c)[0] <= budget)


@pytest.mark.parametrize("seed", range(8))
def test_a_size_budget_is_kept_and_spent_nearly_as_well_as_can_be(seed):
    options = random_options(seed)
    least, most = total(smallest(options).values())[0], sum(own[-1].bytes for own in options.values())
    for share in (0.0, 0.15, 0.4, 0.8, 1.0):
        budget = round(least + share * (most - least))
        size, kl = total(under_bytes(options, budget).values())
        assert size <= budget
        # at worst by what one step would have bought that no longer fitted
        slack = max(step.before.kl - step.after.kl for step in upgrades(options))
        assert kl <= best_of_all(options, budget) + 0.5 * slack
    assert total(under_bytes(options, most).values())[1] == 0.0


def test_at_the_end_of_every_step_the_choice_is_the_best_there_is():
    options = random_options(3)
    size = total(smallest(options).values())[0]
    for step in upgrades(options):
        size += step.bytes
        assert total(under_bytes(options, size).values())[1] == pytest.approx(best_of_all(options, size))


def test_an_option_above_the_hull_is_never_chosen():
    poor = [Option(INT4, 100, 1.0), Option(INT8, 200, 0.99), Option(FP16, 400, 0.0)]
    assert [o.precision for o in hull(poor)] == [INT4, FP16]
    worse = [Option(INT4, 100, 0.1), Option(INT8, 200, 0.2)]
    assert [o.precision for o in hull(worse)] == [INT4]


def test_a_size_that_is_too_small_is_refused_with_the_smallest():
    options = random_options(0)
    least = total(smallest(options).values())[0] + 10_000
    with pytest.raises(InputError, match=rf"cannot be met: the least is {least / 1e6:.2f} MB"):
        under_bytes(options, 5_000, rest=10_000)
    assert under_bytes(options, least, rest=10_000) == smallest(options)


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0, 20.0])
def test_a_quality_budget_is_met_as_measured_whatever_was_predicted(factor):
    options = random_options(1)
    worst = total(smallest(options).values())[1]
    limit = factor * worst / 50

    def measure(choice):
        return factor * total(choice.values())[1]

    choice = meet_kl(options, limit, measure)
    assert measure(choice) <= limit
    ideal = total(under_kl(options, limit / factor).values())[0]
    assert total(choice.values())[0] <= 1.15 * ideal


def test_a_quality_that_cannot_be_had_is_refused_with_what_can():
    options = random_options(2)
    with pytest.raises(InputError, match=r"1e-05 nats cannot be met: .* is 0.003 nats"):
        meet_kl(options, 1e-5, lambda choice: 0.003 + total(choice.values())[1])


def test_the_recipe_says_what_was_chosen_and_why():
    options = random_options(4)
    choice = under_bytes(options, 2_000)
    plan = recipe_of(choice, FP16).plan(dict.fromkeys(options, (64, 64)))
    assert {entry.name: entry.precision for entry in plan} == {
        name: o.precision for name, o in choice.items()
    }
    assert all("nats in" in entry.reason for entry in plan)
