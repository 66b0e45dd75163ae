"""A run that is killed and repeated ends with the very bytes of one that was not."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors import safe_open
from triple_files import LINES, write_triples

from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.errors import InputError
from phantom_edge.training.triples import read_triples
from phantom_edge.tune.options import TuneOptions
from phantom_edge.tune.trainer import tune

OPTIONS = {
    "steps_1": 3,
    "steps_2": 3,
    "lr": 1e-2,
    "batch": 4,
    "micro_batch": 1,
    "lora": 2,
    "validation": 1,
    "save_every": 0.0,
}


# What a run tells when it is killed: within a batch of each step, in a validation, at the very end.
PLACES = (
    ("step 1", 2, 3),
    ("validation, step 1", 1, 1),
    ("step 2", 1, 2),
    ("step 2", 3, 4),
    ("writing the checkpoint", 0, 1),
)


def killer(stage: str, done: int, times: int):
    """A listener that kills its process at the ``times``-th word of being ``done`` so far in a stage."""
    heard = 0

    def listen(event):
        nonlocal heard
        heard += (event.stage, event.done) == (stage, done)
        if heard == times:
            os.kill(os.getpid(), signal.SIGKILL)

    return listen


def killed(*arguments, place) -> None:
    """Run in a process of its own that is killed on the way."""
    if (child := os.fork()) == 0:
        try:
            tune(*arguments, killer(*place))
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGKILL


def saved(output: Path) -> list[int]:
    """Stage, optimiser steps and micro-batches of the state on disk."""
    with safe_open(output.with_name(f"{output.name}.partial") / "state.safetensors", "pt") as file:
        state = json.loads(file.metadata()["state"])
    return [state["stage"], state["step"], state["micro"]]


@pytest.mark.parametrize("rank", [2, None])
def test_a_killed_run_goes_on_to_the_same_bytes(tiny_dirs, tmp_path, rank):
    source, output = Pretrained.open(tiny_dirs["qwen2"]), tmp_path / "killed"
    triples = read_triples(*write_triples(tmp_path))
    options = TuneOptions(**OPTIONS | {"lora": rank})
    places = []
    for place in PLACES:
        killed(source, triples, options, output, place=place)
        assert not output.exists()
        (output.with_name("killed.partial") / "new-state.safetensors").write_bytes(b"cut short")
        places.append(saved(output))
    assert places == [[1, 1, 2], [1, 3, 0], [2, 0, 1], [2, 2, 3], [2, 3, 0]]
    result = tune(source, triples, options, output)
    whole = tune(source, triples, options, tmp_path / "whole")
    assert (result.training["resumed"], whole.training["resumed"]) == (places, [])
    assert (output / "model.safetensors").read_bytes() == (whole.output / "model.safetensors").read_bytes()
    assert result.training["curve"] == whole.training["curve"]
    assert result.validation == whole.validation
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "killed",
        "pictures",
        "triples.jsonl",
        "whole",
    ]


class Stopped(Exception):
    pass


@pytest.fixture
def stopped(tiny_dirs, tmp_path):
    """A run that ended in its second optimiser step."""
    source = Pretrained.open(tiny_dirs["qwen2"])
    triples = read_triples(*write_triples(tmp_path))

    def stop(event):
        if (event.stage, event.done) == ("step 1", 2):
            raise Stopped

    with pytest.raises(Stopped):
        tune(source, triples, TuneOptions(**OPTIONS), tmp_path / "out", stop)
    return source, triples, tmp_path / "out"


def refused(stopped, message, **changes):
    source, triples, output = stopped
    with pytest.raises(InputError) as raised:
        tune(source, triples, TuneOptions(**OPTIONS | changes), output)
    assert message in str(raised.value)
    assert (output.with_name("out.partial") / "state.safetensors").is_file()
    assert not output.exists()


def test_other_arguments_or_other_data_do_not_go_on_with_it(stopped, tmp_path):
    again = "repeat those to go on with it, or delete that folder to start anew"
    refused(stopped, "unfinished run with other arguments (lr was 0.01, now 0.02): " + again, lr=2e-2)
    refused(stopped, "(micro_batch was 1, now 2; lora was 2, now None)", micro_batch=2, lora=None)
    source, triples, output = stopped
    shutil.copy(tmp_path / "pictures" / "wide.png", tmp_path / "pictures" / "square.png")
    refused(stopped, "(data differs): " + again)
    write_triples(tmp_path, LINES[:-1])
    refused((source, read_triples(triples.path, triples.folder), output), "(data differs)")


def test_a_damaged_state_is_one_line(stopped):
    state = stopped[2].with_name("out.partial") / "state.safetensors"
    os.truncate(state, state.stat().st_size // 2)
    refused(stopped, "damaged")


def test_how_often_it_saves_changes_nothing(stopped):
    source, triples, output = stopped
    assert saved(output) == [1, 1, 0]
    result = tune(source, triples, TuneOptions(**OPTIONS | {"save_every": 1000.0}), output)
    assert result.training["resumed"] == [[1, 1, 0]]


def test_a_state_that_cannot_be_written_leaves_nothing(tiny_dirs, tmp_path):

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    write_triples(tmp_path / "data")
    words = [
        sys.executable,
        "-m",
        "phantom_edge",
        "tune",
        "--output",
        "out",
        "--model",
        str(tiny_dirs["qwen2"]),
    ]
    words += ["--data", "data/triples.jsonl", "--images", "data/pictures"]
    done = subprocess.run(words, cwd=tmp_path, preexec_fn=limit, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert "grew beyond the largest file that is allowed here" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
