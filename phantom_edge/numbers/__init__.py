"""Number grids: integers with their scales, recipes that place them, and runtimes' activation grids."""
