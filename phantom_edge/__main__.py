"""The process of ``phantom-edge``: signals are heeded before anything else is even imported."""

from __future__ import annotations

import sys

from phantom_edge.system import interrupts


def main() -> None:
    """Entry point of ``phantom-edge`` and of ``python -m phantom_edge``."""
    interrupts.install()
    # After a command destructors complain that their temporary files are gone, together with its folder.
    sys.unraisablehook = lambda _: None
    from phantom_edge.cli import main as run

    run()


if __name__ == "__main__":
    main()
