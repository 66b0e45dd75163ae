"""Passing bundles on: to a hub, with a card that says what they are, and back."""
