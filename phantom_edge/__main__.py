"""``python -m phantom_edge`` is ``phantom-edge``."""

from phantom_edge.cli import main

if __name__ == "__main__":
    main()
