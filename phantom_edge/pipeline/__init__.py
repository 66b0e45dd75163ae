"""The two main jobs as one call each: export a checkpoint, and quantise one."""
