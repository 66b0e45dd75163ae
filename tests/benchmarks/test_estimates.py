"""The comparison of estimates with measurements, on hand-made runs."""

from __future__ import annotations

import pytest

from benchmarks.estimates import BEGIN, END, lines, table, written
from phantom_edge.bench.results import Band, Run
from phantom_edge.errors import InputError


def run(**medians: float) -> Run:
    made = Run({}, {}, {})
    for key, value in medians.items():
        made.add(key.replace("_at_", "@"), value)
    return made


def test_errors_and_repeatability():
    predicted = Run({}, {}, {}, bands={"vision": Band(1.2, 1, 2), "decode@0": Band(45.0, 40, 50)})
    rounds = [
        run(vision=1.0, decode_at_0=50),
        run(vision=1.04, decode_at_0=52),
        run(vision=0.98, decode_at_0=48),
    ]
    found = {line.key: line for line in lines("b", predicted, rounds)}
    assert found["vision"].error == pytest.approx(0.2)
    assert found["vision"].wander == pytest.approx(0.04)
    assert found["decode@0"].error == pytest.approx(-0.1)
    text = table(list(found.values()), {"cpu": "x"}, noisy=False)
    assert "| b | vision encoder, ms | ~" not in text
    assert "| b | of it vision encoder, ms | 1,200 | 1,000 | +20% | 4.0% |" in text
    assert "Largest error 20% (aim 25%); rounds repeat within 4.0% (aim 5%)." in text
    assert "Noisy" in table(list(found.values()), {}, noisy=True)


def test_a_row_without_an_estimate_is_still_measured():
    (line,) = lines("b", Run({}, {}, {}), [run(load=1.0), run(load=1.0)])
    assert "| - | 1,000 | - | 0.0% |" in table([line], {}, False)


def test_the_table_goes_between_the_marks():
    page = f"# A\n{BEGIN}\nold\n{END}\nafter\n"
    assert written(page, "new") == f"# A\n{BEGIN}\n\nnew\n\n{END}\nafter\n"
    with pytest.raises(InputError, match="the page has no"):
        written("# A", "new")
