"""Verify a bundle: every file and function that ships, against the checkpoint that it came from."""

from phantom_edge.runtime.verify.job import verify
from phantom_edge.runtime.verify.questions import ARM, ARM_UNROUNDED, FILES, QUALITY, STRUCTURE, UNROUNDED

__all__ = ["ARM", "ARM_UNROUNDED", "FILES", "QUALITY", "STRUCTURE", "UNROUNDED", "verify"]
