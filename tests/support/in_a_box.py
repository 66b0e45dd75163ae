"""The command line where nothing is installed but what a box has: every other package's import fails.

python tests/support/in_a_box.py run -m BUNDLE -p QUESTION
"""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder

# What phantom-edge-box requires, and what that imports in turn. It also installs huggingface_hub, which
# tokenizers names and does not import.
ALLOWED = {
    "PIL", "google", "numpy", "onnxruntime", "phantom_edge", "rich", "safetensors", "tokenizers", "typer",
    "annotated_doc", "annotated_types", "markdown_it", "mdurl", "pydantic", "pydantic_core", "pygments",
    "shellingham", "typing_extensions", "typing_inspection",
}  # fmt: skip


class Border(MetaPathFinder):
    """Finds nothing, and refuses what a box has not."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        top = name.partition(".")[0]
        standard = top in sys.stdlib_module_names or top.startswith("_sysconfigdata")
        if top not in ALLOWED and not standard:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


if __name__ == "__main__":
    sys.path.pop(0)  # this folder, whose modules stand before everything else
    sys.meta_path.insert(0, Border())
    from phantom_edge.__main__ import main

    main()
