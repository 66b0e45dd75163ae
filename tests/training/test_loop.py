"""The loop against the same training written out by hand, and stopped anywhere."""

from __future__ import annotations

import json

import pytest
import torch

from phantom_edge.errors import CheckError, InputError
from phantom_edge.training.loop import Stage, Trainer
from phantom_edge.training.run_folder import RunFolder

STAGES = (Stage("wide", 4), Stage("narrow", 3))
DATA = torch.randn(40, 3, 8, generator=torch.Generator().manual_seed(0))  # per step three micro-batches of 8


def weights() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {name: torch.randn(8, 8, generator=generator).requires_grad_() for name in ("a", "b")}


def loss_of(w: dict[str, torch.Tensor], row: torch.Tensor) -> torch.Tensor:
    return ((row @ w["a"]).tanh() @ w["b"]).square().mean()


class Stopped(Exception):
    pass


class Small(Trainer[Stage, torch.Tensor]):
    """Both weights learn in the first stage, by AdamW and Muon; one of them in the second."""

    clip = 0.5

    def __init__(self, output=None, stop_at: int = 0, factor: float = 1.0):
        folder = None if output is None else RunFolder(output)
        super().__init__(STAGES, self.hear, folder, save_every=0.0)
        self.weights, self.stop_at, self.factor, self.heard = weights(), stop_at, factor, 0

    def hear(self, event) -> None:
        self.heard += 1
        if self.heard == self.stop_at:
            raise Stopped

    def begin(self, stage):
        a, b = self.weights.values()
        adam = torch.optim.AdamW([a], lr=0.1)
        return ({"a": a}, [adam]) if stage.name == "narrow" else (self.weights, [adam, muon(b)])

    def saved(self):
        return self.weights

    def batches(self, stage, first):
        offset = 0 if stage.name == "wide" else 10
        return (list(DATA[offset + step]) for step in range(first, stage.steps))

    def loss(self, part, parts):
        loss = loss_of(self.weights, part) / len(parts) * self.factor
        self.state.totals.add("loss", float(loss.detach()), 1)
        return loss

    def schedule(self, stage, step):
        return 1 - step / stage.steps

    def validate(self, name):
        return {"norm": float(self.weights["a"].norm())}


def muon(weight: torch.Tensor) -> torch.optim.Optimizer:
    return torch.optim.Muon([weight], lr=0.2)


def by_hand() -> dict[str, torch.Tensor]:
    w = weights()
    for offset, steps, learning in ((0, 4, ("a", "b")), (10, 3, ("a",))):
        adam, other = torch.optim.AdamW([w["a"]], lr=0.1), muon(w["b"])
        optimizers = [adam, other] if "b" in learning else [adam]
        for step in range(steps):
            for row in DATA[offset + step]:
                (loss_of(w, row) / 3).backward()
            torch.nn.utils.clip_grad_norm_([w[name] for name in learning], 0.5)
            for optimizer, rate in zip(optimizers, (0.1, 0.2), strict=False):
                optimizer.param_groups[0]["lr"] = rate * (1 - step / steps)
                optimizer.step()
            w["a"].grad = w["b"].grad = None
    return w


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def test_it_is_the_training_written_out():
    trainer = Small()
    trainer.train()
    assert equal(trainer.weights, by_hand())
    assert [(point["stage"], point["step"]) for point in trainer.state.curve] == [
        *((1, step) for step in range(1, 5)),
        *((2, step) for step in range(1, 4)),
    ]
    assert [point["lr"] for point in trainer.state.curve[:4]] == pytest.approx([0.1, 0.075, 0.05, 0.025])
    assert list(trainer.state.validation) == ["before", "wide"]


@pytest.mark.parametrize("stop_at", range(1, 22))
def test_stopped_anywhere_it_goes_on_to_the_same_weights(tmp_path, stop_at):
    stopped = Small(tmp_path / "out", stop_at)
    with pytest.raises(Stopped), stopped.folder.locked({"n": 1}):
        stopped.train()
    resumed = Small(tmp_path / "out")
    with pytest.raises(InputError, match="n was 1, now 2"):
        resumed.folder.check_same({"n": 2})
    with resumed.folder.locked({"n": 1}):
        resumed.train()
    assert equal(resumed.weights, by_hand())
    whole = Small()
    whole.train()
    assert resumed.state.curve == whole.state.curve
    assert resumed.state.validation == whole.state.validation
    assert resumed.heard + stop_at - 1 == 21  # nothing but what was being computed is computed again


def test_the_output_appears_when_it_is_whole(tmp_path):
    trainer = Small(tmp_path / "out")
    with trainer.folder.locked({}):
        trainer.train()
    with trainer.folder.finishing(trainer.record()) as result:
        assert not (tmp_path / "out").exists()
        (result / "weights").write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    assert record["steps"] == {"wide": 4, "narrow": 3}
    assert trainer.folder.finished() == record


def test_a_loss_that_is_no_number_names_its_step(tmp_path):
    trainer = Small(tmp_path / "out", factor=float("nan"))
    with (
        pytest.raises(CheckError, match="no longer a number in wide, at optimiser step 1: use a lower --lr"),
        trainer.folder.locked({}),
    ):
        trainer.train()
    assert list(tmp_path.iterdir()) == []
