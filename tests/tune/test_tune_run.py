"""Whole runs on a tiny checkpoint: what learns, that it learns, what is written, and what is refused."""

from __future__ import annotations

import fcntl
import json
import stat

import pytest
import torch
from triple_files import LINES, read, write_triples

from phantom_edge.checkpoint.loading import Checkpoint
from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.errors import CheckError, InputError
from phantom_edge.scenes import make_scene
from phantom_edge.training.triples import read_triples
from phantom_edge.tune.lora import is_adapted
from phantom_edge.tune.options import TuneOptions
from phantom_edge.tune.trainable import learns_first
from phantom_edge.tune.trainer import tune
from recipes.synthetic import TINY, write_checkpoint


@pytest.fixture(scope="module")
def source(tiny_dirs) -> Pretrained:
    return Pretrained.open(tiny_dirs["qwen2"])


@pytest.fixture(scope="module")
def triples(tmp_path_factory):
    return read(tmp_path_factory.mktemp("triples"))


def changed(source: Pretrained, output) -> set[str]:
    """Names of the tensors whose bytes are not those of the source."""
    before, after = source.checkpoint, Checkpoint.open(output)
    assert after.dtypes == before.dtypes
    return {name for name in before if not torch.equal(before[name], after[name])}


def test_step_1_changes_projector_phantom_and_gates_and_no_byte_else(source, triples, tmp_path):
    told = []
    options = TuneOptions(steps_1=2, steps_2=0, lr=1e-2, batch=7, validation=1)
    result = tune(source, triples, options, tmp_path / "out", told.append)
    assert changed(source, result.output) == set(filter(learns_first, source.checkpoint))
    assert list(result.validation) == ["before", "step 1", "after"]
    assert result.validation["after"] == result.validation["step 1"] != result.validation["before"]
    assert result.training["steps"] == {"step 1": 2}
    assert all(point["preference"] > 0 for point in result.training["curve"])
    assert [str(event).split(":")[0] for event in told if event.stage == "step 1"] == ["step 1"] * 4
    assert told[-2].tokens_per_second is None or told[-2].tokens_per_second > 0


def test_step_2_changes_everything_and_has_no_preference_term(source, triples, tmp_path):
    options = TuneOptions(steps_1=0, steps_2=2, lr=1e-2, batch=7, micro_batch=7)
    result = tune(source, triples, options, tmp_path / "out")
    assert changed(source, result.output) == set(source.checkpoint)
    assert [point["preference"] for point in result.training["curve"]] == [None, None]
    assert result.training["trained_parameters"] == {"step 2": source.checkpoint.parameters}


def test_lora_changes_the_linear_weights_by_a_matrix_of_its_rank(source, triples, tmp_path):
    options = TuneOptions(steps_1=0, steps_2=2, lr=1e-1, batch=7, micro_batch=7, lora=2, precision="bf16")
    result = tune(source, triples, options, tmp_path / "out")
    expected = {name for name in source.checkpoint if learns_first(name) or is_adapted(name)}
    assert changed(source, result.output) == expected
    name = "text_decoder.layers.0.gate_up.weight"
    before, after = (c[name].float() for c in (source.checkpoint, Checkpoint.open(result.output)))
    values = torch.linalg.svdvals(after - before)
    assert values[2] < 1e-4 * values[1]


def test_what_is_measured_at_the_end_is_what_is_stored(triples, tmp_path):
    """A change of 1e-2 is lost on the phantom's amplified matrices when they are rounded to bf16 again."""
    source = Pretrained.open(write_checkpoint(tmp_path / "half", TINY, dtype="bfloat16"))
    options = TuneOptions(steps_1=1, steps_2=0, lr=1e-2, batch=4, validation=1)
    result = tune(source, triples, options, tmp_path / "out")
    learned, small = (set(filter(learns_first, source.checkpoint)), changed(source, result.output))
    assert small < learned
    assert {name for name in learned - small if not name.endswith(".o.weight")} == set()
    assert result.validation["after"] != result.validation["step 1"]
    # Tuned by nothing further, the stored checkpoint measures what the run said at its end.
    again = tune(Pretrained.open(result.output), triples, options, tmp_path / "again")
    assert again.validation["before"] == result.validation["after"]


def test_a_short_training_from_scratch_lowers_both_terms_of_the_loss(source, tmp_path):
    lines = []
    for index in range(3):
        scene = make_scene("train", index)
        (tmp_path / "pictures").mkdir(exist_ok=True)
        scene.render(56).save(tmp_path / "pictures" / f"{index}.png")
        lines += [{"image": f"{index}.png", **vars(triple)} for triple in scene.triples()[:4]]
    (tmp_path / "triples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    triples = read_triples(tmp_path / "triples.jsonl", tmp_path / "pictures")
    options = TuneOptions(steps_1=12, steps_2=4, lr=1e-2, micro_batch=12, recompute=False)
    curve = tune(source, triples, options, tmp_path / "out").training["curve"]
    first, last = curve[0], curve[11]  # every batch is all lines: the same questions, before and after
    assert last["preference"] < 0.7 * first["preference"]
    assert last["sft"] < 0.9 * first["sft"]
    assert last["preferred"] > first["preferred"]
    assert curve[-1]["sft"] < 0.9 * last["sft"]


def test_what_is_written(source, triples, tmp_path):
    options = TuneOptions(steps_1=1, steps_2=1, batch=4, validation=2)
    result = tune(source, triples, options, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert Pretrained.open(tmp_path / "out").config == source.config
    assert {stat.S_IMODE(path.stat().st_mode) & 0o044 for path in result.output.iterdir()} == {0o044}
    training = json.loads((result.output / "training.json").read_text())
    assert training == result.training
    assert training["arguments"]["model"] == source.sha256()
    assert training["data"]["lines"] == len(LINES)
    assert training["data"]["trained_on"] + training["data"]["held_out"] == len(LINES)
    assert {(point["stage"], point["step"]) for point in training["curve"]} == {(1, 1), (2, 1)}
    assert tune(source, triples, options, tmp_path / "out").training == training  # finished: not done again
    with pytest.raises(
        InputError, match=r"trained with other arguments .*seed was 0, now 1.*choose another output"
    ):
        tune(
            source,
            triples,
            TuneOptions(steps_1=1, steps_2=1, batch=4, validation=2, seed=1),
            tmp_path / "out",
        )


# --- what is refused ----------------------------------------------------------------------------------------


def refused(source, triples, tmp_path, message, **options):
    with pytest.raises(InputError, match=message):
        tune(source, triples, TuneOptions(**options), tmp_path / "out")


def test_no_wrong_answer_and_a_preference_term_do_not_go_together(source, tmp_path):
    path, pictures = write_triples(tmp_path / "data", [line | {"wrong": None} for line in LINES])
    triples = read_triples(path, pictures)
    refused(source, triples, tmp_path, "no line to train on has a wrong answer.*--sft-only")
    result = tune(
        source, triples, TuneOptions(steps_1=1, steps_2=0, sft_only=True, batch=2), tmp_path / "out"
    )
    assert result.training["curve"][0]["preference"] is None


def test_bad_lines_leave_nothing_behind(source, tmp_path):
    path, pictures = write_triples(tmp_path / "data", [*LINES, {"question": "a", "answer": "<img>"}])
    refused(source, read_triples(path, pictures), tmp_path, "line 8: ")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_something_else_in_the_way_is_left_alone(source, triples, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("mine")
    refused(source, triples, tmp_path, "holds something that no training made")
    assert (tmp_path / "out" / "thesis.tex").read_text() == "mine"


def test_two_runs_do_not_work_on_one_output(source, triples, tmp_path):
    (tmp_path / "out.partial").mkdir()
    with (tmp_path / "out.partial" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused(source, triples, tmp_path, "another training is at work on it")


def test_a_machine_without_cuda_says_so(source, triples, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("needs a machine without CUDA")
    refused(source, triples, tmp_path, "--device cuda: this torch sees no CUDA device", device="cuda")


def test_a_loss_that_goes_astray_ends_the_run_and_leaves_nothing(source, triples, tmp_path):
    options = TuneOptions(steps_1=0, steps_2=4, lr=1e30, batch=7, micro_batch=7, save_every=0)
    with pytest.raises(
        CheckError, match="no longer a number in step 2, at optimiser step 2: use a lower --lr"
    ):
        tune(source, triples, options, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
