"""The machine below: files in and out, processes, signals, and why one of them refused."""
