"""phantom-edge: put a trained Phantom vision-language model on phones, in browsers and on edge devices."""

__version__ = "0.1.0"
