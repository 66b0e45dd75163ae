"""Tuning a Phantom checkpoint: its arithmetic with gradients, and Phantom Optimization."""
