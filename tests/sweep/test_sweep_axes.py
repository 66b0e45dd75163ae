"""Combinations of options, and each as the command line that exports it."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer

from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.cli import app
from phantom_edge.errors import InputError
from phantom_edge.pipeline.export import ExportRequest
from phantom_edge.pipeline.tiles import parse_tile_sizes
from phantom_edge.sweep.axes import AXES, Combination, combinations, count, parse_values
from phantom_edge.sweep.folder import made_key, timed_key
from phantom_edge.sweep.request import SweepRequest

VALUES = {"targets": ("desktop", "android"), "quant": ("int4", "default", "int8"), "fold": ()}


def values(**given: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Those of every axis; of an axis that is not named none."""
    return {axis.name: given.get(axis.name, ()) for axis in AXES}


def test_every_combination_comes_once_in_order():
    names = [one.name for one in combinations(values(**VALUES))]
    assert names == [
        "desktop int4", "desktop", "desktop int8", "android int4", "android", "android int8",
    ]  # fmt: skip
    assert count(values(**VALUES)) == 6


def test_many_are_counted_and_not_made():
    thousand = tuple(map(str, range(1000)))
    assert count(values(targets=thousand, quant=thousand, fold=thousand)) == 10**9


def test_every_axis_is_an_option_of_both_commands():
    root: Any = typer.main.get_command(app)
    flags = {
        name: {flag for p in root.commands[name].params for flag in p.opts} for name in ("sweep", "export")
    }
    for axis in AXES:
        assert axis.flag in flags["sweep"]
        assert axis.option in flags["export"]


def parsed(line: str) -> dict[str, Any]:
    """What the command line of ``export`` reads in a line."""
    program, name, *arguments = shlex.split(line)
    assert program == "phantom-edge"
    root: Any = typer.main.get_command(app)
    return root.commands[name].make_context(name, arguments).params


@pytest.mark.parametrize(
    ("chosen", "base"),
    [
        (("android", "int4", "auto", "en+my texts", "default"), ExportRequest()),
        (("web", "my recipes/it's mine.toml", "default", "default", "128"), ExportRequest(context=300)),
        (
            ("ios", "default", "rank:8", "latin", "336"),
            ExportRequest(model="BK-Lee/Phantom-0.5B", revision="main"),
        ),
    ],
)
def test_a_command_line_is_read_as_the_request_that_it_was_made_of(chosen, base):
    combination = Combination(chosen)
    request, options = combination.request(base), parsed(combination.command(base))
    assert options["target"] == request.target == chosen[0]
    assert options["quant"] == request.quantize.quant
    assert options["fold"] == request.fold
    assert tuple(options["vocab"] or ()) == request.vocab
    assert parse_tile_sizes(options["tile_size"]) == request.tile_sizes
    for name in ("model", "revision", "context"):
        assert options[name] == getattr(request, name)
    untouched = replace(
        request, target=base.target, fold=base.fold, quantize=base.quantize, vocab=(), tile_sizes=()
    )
    assert untouched == base


def test_values_are_read_between_commas():
    assert parse_values("--quant", " int4,,int8 ,int4") == ("int4", "int8")
    with pytest.raises(InputError, match="--quant ' , ' names nothing"):
        parse_values("--quant", " , ")


def test_a_key_follows_from_all_that_a_result_follows_from(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text('base = "int8"\n')
    Path("mine").mkdir()
    Path("mine/texts.txt").write_text("Is it red?")
    source, request = Pretrained.open(), SweepRequest(quant=("int4", "mine.toml"))
    one = Combination(("desktop", "mine.toml", "default", "mine", "default"))

    def key(request: SweepRequest = request, combination: Combination = one) -> str:
        return made_key(request, combination, source)

    first = key()
    others = [
        key(combination=Combination(("android", "mine.toml", "default", "mine", "default"))),
        key(combination=Combination(("desktop", "int4", "default", "mine", "default"))),
        key(replace(request, samples=3)),
        key(replace(request, tasks=("colour",))),
        key(replace(request, context=300)),
    ]
    Path("mine.toml").write_text('base = "int4"\n')
    others.append(key())
    Path("mine.toml").write_text('base = "int8"\n')
    Path("mine/texts.txt").write_text("Is it blue?")
    others.append(key())
    assert len({first, *others}) == 8
    Path("mine/texts.txt").write_text("Is it red?")
    # What the winner is chosen by, and where things run, changes no result.
    assert key(replace(request, within=1.0, device="pixel-8", cpus=2, output=Path("x"))) == first
    assert timed_key(first) != timed_key(others[0])
    assert timed_key(first) != first


def test_a_file_is_named_in_full_for_another_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text('base = "int8"\n')
    values = ("desktop", "mine.toml", "exact", "en+mine.toml", "128")
    assert Combination(values).absolute().values == (
        "desktop", str(tmp_path / "mine.toml"), "exact", f"en+{tmp_path / 'mine.toml'}", "128",
    )  # fmt: skip
    values = ("desktop", "int4", "exact", "default", "default")
    assert Combination(values).absolute().values == values
