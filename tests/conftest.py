"""Checkpoints that tests share: the recorded ones where they are at hand, and tiny ones of every decoder
family.
"""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is imported; see phantom_edge/cli

import pytest
import torch
from recorded import RECORDED

from phantom_edge.checkpoint.synthetic import TINY_FAMILIES, write_checkpoint

# Two threads spin against whatever else runs here: on small models one is faster, alone or not.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_dirs(tmp_path_factory) -> dict[str, Path]:
    """One tiny random checkpoint per decoder family: ``qwen2``, ``internlm2``, ``phi3``."""
    root = tmp_path_factory.mktemp("checkpoints")
    return {
        name: write_checkpoint(root / name, sizes, seed=n, dtype="float32")
        for n, (name, sizes) in enumerate(TINY_FAMILIES.items())
    }


@pytest.fixture(scope="session")
def checkpoint_dirs(tiny_dirs) -> dict[str, Path]:
    """The recorded checkpoints by folder name (``phantom-0.5b``…) where they are, else the tiny ones by
    family.
    """
    return {p.name: p for p in RECORDED} or tiny_dirs
