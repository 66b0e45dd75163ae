"""The questions that a verification answers: the titles of its groups of checks."""

from __future__ import annotations

from typing import Final

FILES: Final = "Does the bundle say what the checkpoint says? Its manifest, tokenizer and other files"
VOCABULARY: Final = "Is the vocabulary enough? What is left of it, against the checkpoint's tokenizer"
UNROUNDED: Final = (
    "Is the export right? Its graphs and integers in fp32 arithmetic, against torch with the same integers"
)
STRUCTURE: Final = "Is the export right? As it ships, against torch with the same integers"
ARM_UNROUNDED: Final = "Does Arm compute what x86 computes? Graphs and integers in fp32 arithmetic, on both"
ARM: Final = "Does Arm compute what x86 computes? The artifact as it ships, on both"
QUALITY: Final = "Is the quantisation good? The artifact against the original in fp32"
