"""How other devices reach a server that was started here: addresses, a QR code, and what is in their way."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from phantom_edge.cli.help import columns
from phantom_edge.cli.printing import echo

if TYPE_CHECKING:
    from phantom_edge.apps.reach import Reach


def show_reach(reach: Reach, *, code: bool) -> None:
    """Print the addresses for other devices; on a terminal, unless ``code`` is False, the first as a code."""
    if not reach.addresses:
        return
    for address in reach.addresses:
        echo(f"on other devices: {address}")
    if code and sys.stdout.isatty():
        _show_code(reach.addresses[0])
    for line in reach.hints():
        echo(line)


def _show_code(address: str) -> None:
    """Where the terminal is too narrow, or has no blocks, the address above is all."""
    from phantom_edge.apps.qr import qr_lines

    text = "\n".join(qr_lines(address, columns(), colour=not os.environ.get("NO_COLOR")))
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return
    if text:
        echo(f"\n{text}\n")
