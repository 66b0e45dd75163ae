"""Quantisation of a folded model: calibration, rounding methods, precisions under a budget, recovery."""
