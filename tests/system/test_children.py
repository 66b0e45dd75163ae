"""Processes that are started here end with their block and with this process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from phantom_edge.system.children import child, run

GRANDCHILD = "import subprocess, sys, time; p = subprocess.Popen(['sleep', '60']); print(p.pid, flush=True); "


def alive(pid: int) -> bool:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        done = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
        if not done.stdout.strip() or done.stdout.strip().startswith("Z"):
            return False
        time.sleep(0.05)
    return True


def test_what_a_command_says_comes_back():
    done = run([sys.executable, "-c", "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"])
    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "err\n")


def test_the_whole_group_ends_with_the_block():
    command = [sys.executable, "-c", GRANDCHILD + "time.sleep(60)"]
    with child(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        grandchild = int(process.stdout.readline())
    assert not alive(process.pid)
    assert not alive(grandchild)


def test_a_deadline_leaves_nothing_running():
    start = time.monotonic()
    with pytest.raises(subprocess.TimeoutExpired):
        run([sys.executable, "-c", "import time; time.sleep(60)"], timeout=0.2)
    assert time.monotonic() - start < 30


def test_an_unknown_or_broken_program_is_named(tmp_path):
    with pytest.raises(FileNotFoundError):
        run(["no-such-program-anywhere"])
    (tmp_path / "text").write_text("no program")
    (tmp_path / "text").chmod(0o755)
    with pytest.raises(OSError, match="Exec format"):
        run([str(tmp_path / "text")])


@pytest.mark.skipif(sys.platform != "linux", reason="the system ends no orphans here")
def test_a_killed_process_takes_its_children_along():
    from shutil import which

    if which("setpriv") is None:
        pytest.skip("needs setpriv (util-linux)")
    code = (
        "import subprocess, sys, time\nfrom phantom_edge.system.children import child\n"
        "with child([sys.executable, '-c', 'print(1, flush=True); input()'], stdout=-1) as process:\n"
        "    process.stdout.readline()\n    print(process.pid, flush=True)\n    time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    assert not alive(pid)
