from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading

import pytest

from phantom_edge.system import interrupts
from phantom_edge.system.interrupts import deferred


@pytest.fixture(autouse=True)
def heeded():
    """Both signals as the command line has them, whatever the tests themselves were started with."""
    before = {n: signal.signal(n, signal.default_int_handler) for n in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_waits_for_the_end(number):
    done = []

    @deferred()
    def work():
        os.kill(os.getpid(), number)
        done.append(True)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == [True]
    assert signal.getsignal(number) is signal.default_int_handler


def test_an_error_comes_first_and_the_handlers_come_back():
    @deferred()
    def work():
        os.kill(os.getpid(), signal.SIGINT)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_is_ignored_stays_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with deferred():
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_other_threads_are_left_alone():
    entered = []

    def work():
        with deferred():
            entered.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert entered == [signal.default_int_handler]


PRELUDE = """
import os, signal, sys, time
from pathlib import Path
from typer import Typer
from phantom_edge.system import interrupts
from phantom_edge.cli.console import command, progress
from phantom_edge.system.writing import replacing_file, replacing_folder

def send(number=signal.SIGINT):
    os.kill(os.getpid(), number)
"""


def script(tmp_path, work: str, *, ignored=()) -> subprocess.CompletedProcess[str]:
    """Run a command whose work is the given lines."""
    path = tmp_path / "script.py"
    body = textwrap.indent(textwrap.dedent(work), "    ")
    path.write_text(f"{PRELUDE}\ndef work():\n{body}\napp = Typer()\napp.command()(command(work))\napp()\n")

    def handlers() -> None:
        for number in interrupts.SIGNALS:
            signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)

    return subprocess.run(
        [sys.executable, path], capture_output=True, text=True, cwd=tmp_path, preexec_fn=handlers, timeout=60
    )


STOPPED = "error: stopped; nothing was changed\n"


@pytest.mark.parametrize("number", interrupts.SIGNALS)
def test_each_signal_ends_a_command_with_its_code(tmp_path, number):
    done = script(tmp_path, f"with replacing_folder(Path('out')):\n    send({int(number)})")
    assert (done.returncode, done.stderr) == (128 + number, STOPPED)
    assert [path.name for path in tmp_path.iterdir()] == ["script.py"]


def test_one_that_a_library_swallows_is_noticed_at_the_next_step(tmp_path):
    work = """
        with progress() as p:
            try:
                send()
            except:
                pass
            print("went on", flush=True)
            p.step("next")
            print("too far")
    """
    done = script(tmp_path, work)
    assert (done.returncode, done.stdout, done.stderr) == (130, "went on\n", STOPPED)


@pytest.mark.parametrize("replacing", ["replacing_file", "replacing_folder"])
def test_one_that_is_swallowed_puts_nothing_in_place(tmp_path, replacing):
    work = f"""
        with {replacing}(Path("out")) as partial:
            try:
                send()
            except:
                pass
            (partial / "a" if partial.is_dir() else partial).write_text("x")
    """
    done = script(tmp_path, work)
    assert (done.returncode, done.stderr) == (130, STOPPED)
    assert [path.name for path in tmp_path.iterdir()] == ["script.py"]


def test_an_import_is_finished_first_and_cannot_swallow_it(tmp_path):
    """A module that is left half imported breaks in ways of its own: some libraries end with a fault."""
    (tmp_path / "library.py").write_text(
        "import os, signal, time\ntry:\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n    time.sleep(0.2)\nexcept:\n    print('swallowed')\n"
        "print('imported', flush=True)\n"
    )
    done = script(tmp_path, "import library\ntime.sleep(20)")
    assert (done.returncode, done.stdout, done.stderr) == (143, "imported\n", STOPPED)


def test_a_second_one_ends_at_once_and_cleans_up(tmp_path):
    work = """
        with replacing_folder(Path("out")) as partial:
            try:
                send()
            except:
                pass
            send(signal.SIGTERM)
            print("too far", flush=True)
    """
    done = script(tmp_path, work)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", STOPPED)
    assert [path.name for path in tmp_path.iterdir()] == ["script.py"]


def test_what_is_complete_by_then_is_not_denied(tmp_path):
    work = """
        with replacing_file(Path("out")) as partial:
            partial.write_text("x")
        send()
    """
    done = script(tmp_path, work)
    assert (done.returncode, done.stderr) == (130, f"error: stopped; {tmp_path / 'out'} is complete\n")
    assert (tmp_path / "out").read_text() == "x"


def test_a_command_that_outlives_its_terminal_goes_on(tmp_path):
    done = script(tmp_path, "send(signal.SIGHUP)\nprint('done')", ignored=[signal.SIGHUP])
    assert (done.returncode, done.stdout) == (0, "done\n")


def test_one_before_the_command_is_kept_for_it(tmp_path):
    """From the first line of the program on, while the command line itself is imported."""
    code = (
        "import os, signal\nfrom phantom_edge.system import interrupts\ninterrupts.install()\n"
        "os.kill(os.getpid(), signal.SIGTERM)\nfrom phantom_edge.cli import main\nmain(['targets'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (143, "", STOPPED)


def test_a_child_ends_with_the_command(tmp_path):
    work = """
        from phantom_edge.system.children import run
        import threading
        threading.Timer(0.3, send).start()
        run(["sh", "-c", "echo $$ > pid; sleep 60"])
    """
    done = script(tmp_path, work)
    assert (done.returncode, done.stderr) == (130, STOPPED)
    pid = (tmp_path / "pid").read_text().strip()
    state = subprocess.run(["ps", "-o", "stat=", "-p", pid], capture_output=True, text=True).stdout
    assert state.strip()[:1] in ("", "Z")


IMPORTED = (
    "import os, signal\nfrom phantom_edge.system import interrupts\nos.kill(os.getpid(), signal.SIGTERM)\n"
)


def test_the_repetition_does_not_come_after_the_end(tmp_path):
    """An import defers the signal, and the next step is faster than its repetition."""
    (tmp_path / "library.py").write_text(IMPORTED)
    code = (
        f"{PRELUDE}\ndef work():\n    import library\n    interrupts.check()\n"
        "app = Typer()\napp.command()(command(work))\n"
        "try:\n    app()\nfinally:\n    interrupts.uninstall()\n"
        "    for number in interrupts.SIGNALS:\n        signal.signal(number, signal.SIG_DFL)\n"
        "    time.sleep(0.3)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (143, STOPPED)


def test_who_catches_it_is_not_interrupted_again(tmp_path):
    (tmp_path / "library.py").write_text(f"{IMPORTED}interrupts.check()\n")
    work = """
        import typer
        try:
            import library
            interrupts.check()
        except KeyboardInterrupt:
            time.sleep(0.3)
            print("once", flush=True)
            raise typer.Exit(5)
    """
    done = script(tmp_path, work)
    assert (done.returncode, done.stdout, done.stderr) == (5, "once\n", "")


def test_destructors_say_nothing_of_files_that_are_gone(tmp_path):
    code = (
        "import importlib, os, signal, sys, tempfile\nfrom phantom_edge import __main__\n"
        "def keep():\n    file = tempfile.NamedTemporaryFile()\n    os.kill(os.getpid(), signal.SIGTERM)\n"
        "importlib.import_module('phantom_edge.targets').targets = keep\n"
        "sys.argv = ['phantom-edge', 'targets']\n__main__.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (143, STOPPED)
