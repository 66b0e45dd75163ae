"""The kernels of 64-bit Arm on an x86-64 machine: ONNX Runtime's aarch64 build under user-mode QEMU.

``cores`` are the processors by name, ``packages`` what is installed and where from, ``environment`` makes it
in the user's cache. ``backend`` runs a bundle's models in a process of that environment (``worker``), to
which it speaks over pipes in ``frames``.
"""
