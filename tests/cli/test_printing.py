"""Printing never decides a result: names, terminals, closed pipes and full disks do not change it."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from phantom_edge.cli import printing
from phantom_edge.report.report import Check, Report, Table

NASTY = "run [/final] [red]x[/red] [bold]"


def run(*words: object, **options: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **options.pop("env", {})}
    return subprocess.run(
        [sys.executable, "-m", "phantom_edge", *map(str, words)],
        **{"capture_output": True, "text": True, "env": environment, **options},
    )


def test_no_name_is_taken_for_markup():
    report = Report("kind", NASTY, {NASTY: NASTY})
    report.groups[NASTY] = [Check(NASTY, NASTY, detail=NASTY), Check("a", 1.0, 0.5, False)]
    report.tables.append(Table(NASTY, (NASTY, "b"), ((NASTY, NASTY),)))
    text = io.StringIO()
    report.print(Console(file=text, width=400))
    assert text.getvalue().count(NASTY) == 11
    assert "FAILED" in text.getvalue()


@pytest.mark.parametrize("width", [30, 60, 100])
def test_a_report_fits_the_terminal(width):
    """Where a table would break its words there are lines, and nothing is lost."""
    report = Report("kind", "the title", {"fact": "value"}, cautions=["too few"])
    report.groups["right?"] = [Check("difference", 1.5, 0.5, False, detail="of many")]
    report.tables += [
        Table("rows", ("name", "size"), (("one", "9 MB"),)),
        Table("more", ("x",), (("y",),), True),
    ]
    text = io.StringIO()
    report.print(Console(file=text, width=width), details=False)
    lines = text.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert ("\N{BOX DRAWINGS LIGHT VERTICAL}" in text.getvalue()) == (width > 72)
    words = " ".join(text.getvalue().split())
    for part in (
        "difference",
        "1.5",
        "FAILED",
        "of many",
        "9 MB",
        "with --all: more (1 rows)",
        "note: too few",
    ):
        assert part in words
    assert "\ny" not in text.getvalue()


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_every_terminal_takes_every_character(encoding, tmp_path):
    """In a language of its own the limit is ≤; a name is what a file system allows."""
    script = tmp_path / "print.py"
    script.write_text(
        "from phantom_edge.cli.printing import prepare_streams, echo, echo_json, print_report, say\n"
        "from phantom_edge.report.report import Check, Report\n"
        "prepare_streams()\n"
        "print_report(Report('k', '\\u4f60 \\udcff', groups={'?': [Check('c', 1.0, 2.0, True)]}))\n"
        "echo_json({'name': '\\u4f60 \\udcff'}); say('caf\\u00e9 \\u2264')\n",
        encoding="utf-8",
    )
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, script], capture_output=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert ("≤ 2" if encoding == "utf-8" else "<= 2") in done.stdout.decode(encoding)
    assert rb'{\n  "name": "\u4f60 \udcff"\n}'.replace(rb"\n", b"\n") in done.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_at_stdout_has_its_own_exit_code():
    with open("/dev/full", "w") as full:
        for words in (["targets"], ["--help"], ["targets", "--json"], ["--version"]):
            done = run(*words, stdout=full, stderr=subprocess.PIPE, capture_output=False)
            assert done.returncode == 3, words
            assert done.stderr.count("\n") == 1
            assert "could not be printed (No space left on device)" in done.stderr


def test_a_closed_pipe_is_silent():
    read, write = os.pipe()
    os.close(read)
    done = run("targets", stdout=write, stderr=subprocess.PIPE, capture_output=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (3, "")


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_closed_streams_take_no_file_s_place(closed, tmp_path):
    """A file that was opened next would get the number of stdout, and what is printed."""

    def close():
        for number in closed:
            os.close(number)

    page = tmp_path / "page.html"
    done = run("estimate", "--list", "--html", page, preexec_fn=close)
    assert done.returncode == 0, done.stderr
    assert page.read_text().rstrip().endswith("</html>")


@pytest.mark.parametrize("value", ["1", "", None])
def test_no_color_is_honoured(value, monkeypatch, capsys):
    monkeypatch.delenv("NO_COLOR", raising=False)
    if value is not None:
        monkeypatch.setenv("NO_COLOR", value)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    printing.say("error: x", colour="red")
    assert ("\x1b[" in capsys.readouterr().err) == (not value)


def test_a_page_that_fails_takes_no_result_with_it(tmp_path, capsys):
    from phantom_edge.errors import InputError

    with pytest.raises(InputError, match="its folder must exist"):
        printing.show(Report("k", "the title"), as_json=False, html=str(tmp_path / "none" / "p.html"))
    assert "the title" in capsys.readouterr().out


def test_a_print_that_fails_takes_no_page_with_it(tmp_path, monkeypatch):
    class Full(io.StringIO):
        def flush(self) -> None:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(sys, "stdout", Full())
    with pytest.raises(printing.PrintError):
        printing.show(Report("k", "t"), as_json=True, html=str(tmp_path / "p.html"))
    assert (tmp_path / "p.html").is_file()
