"""Training a Phantom checkpoint: its arithmetic with gradients, Phantom Optimization, Phantom-Nano's
recipe.
"""
