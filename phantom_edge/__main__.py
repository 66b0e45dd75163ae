"""The process of ``phantom-edge``: signals are heeded before anything else is even imported."""

from __future__ import annotations

from phantom_edge.system import interrupts


def main() -> None:
    """Entry point of ``phantom-edge`` and of ``python -m phantom_edge``."""
    interrupts.install()
    from phantom_edge.cli import main as run

    run()


if __name__ == "__main__":
    main()
