"""Side-by-side measurements at the published sizes. Run as modules from the repository's root; see
README.md.
"""

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before ONNX Runtime is imported; the package sets it for itself
