"""Real commands, stopped at moments that a fixed seed chooses: nothing is lost, and nothing stays behind.

The long form is `python -m benchmarks.kills`.
"""

from __future__ import annotations

import random

import pytest

from benchmarks.kills import SIGNALS, Sandbox, Tally, commands, trial
from phantom_edge.cli import main
from recipes.synthetic import TINY, write_checkpoint

pytestmark = pytest.mark.slow
KILLS = 10
LONGEST = 4.0  # seconds, which a quick machine's export takes


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A model and its bundle, which every export replaces."""
    folder = tmp_path_factory.mktemp("kills")
    write_checkpoint(folder / "tiny", TINY)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        with pytest.raises(SystemExit) as ended:
            main(list(commands()[0].words))
        assert ended.value.code == 0
    return folder


def test_an_export_is_killed_at_ten_moments(prepared, tmp_path):
    rng, tally, export = random.Random(0), Tally(), commands()[0]
    for number in range(KILLS):
        how = SIGNALS[number % len(SIGNALS)]
        box = Sandbox(tmp_path / "box", prepared)
        trial(export, how, rng.uniform(0, LONGEST), box, tally, again=number % 3 == 0)
    assert tally.faults == []
    assert sum(tally.ended.values()) == KILLS
    assert tally.total > 0
