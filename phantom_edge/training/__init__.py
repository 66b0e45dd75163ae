"""What every training in this package shares: objectives, devices, progress and resuming."""
