"""Number grids: integers with their scales, the recipes that place them, and the grids of runtimes'
activations.
"""
