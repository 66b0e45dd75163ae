"""The recipe that makes Phantom-Nano: `python -m recipes.nano DIR`."""
