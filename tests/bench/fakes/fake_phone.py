"""A phone behind the tests' adb server: a folder with its tools, whose output is that of real ones."""

from __future__ import annotations

import json
from pathlib import Path

from phantom_edge.bench.android import app
from phantom_edge.bench.settings import Settings

TRANSCRIPTS = Path(__file__).parents[1] / "transcripts"
SERIAL = "3A021JEHN01234"
APP = app.DEFAULT
FAST = Settings(processes=2, repeats=1, steps=8, depths=(0,))


def transcript(name: str) -> str:
    return (TRANSCRIPTS / name).read_text()


class Phone:
    """The folder behind the fake adb."""

    def __init__(self, root: Path):
        self.root = root
        for folder in ("fs/data/local/tmp", "fs/sdcard", "bin"):
            (root / folder).mkdir(parents=True)
        self.devices("devices-one")
        self.program("getprop", transcript("getprop"))
        self.program("df", transcript("df"))
        for service in ("battery", "thermal"):
            (root / service).write_text(transcript(service))
        self.script(
            "dumpsys", f'case "$1" in battery) cat {root}/battery;; thermalservice) cat {root}/thermal;; esac'
        )
        self.script("pm", f"echo package:{APP}")
        self.stock_runner("observer")

    def script(self, name: str, body: str) -> None:
        path = self.root / "bin" / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    def program(self, name: str, output: str) -> None:
        (self.root / f"{name}.out").write_text(output)
        self.script(name, f"cat {self.root}/{name}.out")

    def devices(self, name: str) -> None:
        (self.root / "devices").write_text(transcript(name))

    def fault(self, match: str, how: str, times: int = 1) -> None:
        (self.root / "faults.json").write_text(json.dumps([{"match": match, "times": times, "how": how}]))

    def stock_runner(
        self, output: str, help_text: str = "runner-help", status: int = 0, seconds: float = 0.3
    ) -> None:
        (self.root / "observer").write_text(transcript(output) if output else "")
        (self.root / "help").write_text(transcript(help_text))
        (self.root / "runner").write_text(
            f'#!/bin/sh\n[ "$1" = --help ] && cat {self.root}/help && exit 1\n'
            f'echo "$@" >> {self.root}/asked\nls >> {self.root}/saw\nsleep {seconds}\n'
            f"cat {self.root}/observer\nexit {status}\n"
        )

    @property
    def calls(self) -> str:
        return (self.root / "calls").read_text()

    @property
    def left(self) -> list[Path]:
        return list((self.root / "fs/data/local/tmp").iterdir())
