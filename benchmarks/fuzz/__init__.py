"""Damaged inputs of every kind, thousands of them, against the commands that read them.

`python -m benchmarks.fuzz` is the long form; `tests/test_fuzz.py` runs a few of each kind.
"""
