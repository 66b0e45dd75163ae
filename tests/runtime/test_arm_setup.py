"""The emulated machine's set-up: what is downloaded is what is pinned, and nothing half-made is ever used."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from debian_mirror import deb, mirror, package

from phantom_edge.errors import InputError
from phantom_edge.runtime import frames
from phantom_edge.runtime.arm import environment, wheels
from phantom_edge.runtime.arm.cores import CORES, core_for, kernel_features
from phantom_edge.runtime.arm.deb import unpack
from phantom_edge.runtime.arm.download import PART, fetch
from phantom_edge.runtime.arm.environment import check_host
from phantom_edge.runtime.arm.machine import chosen_core
from phantom_edge.runtime.arm.packages import MIRRORS, PACKAGES, QEMU, WHEELS

DATA = bytes(range(256)) * 9000
NOISE = np.random.default_rng(0).bytes(5000)


def no_step(_):
    pass


def test_the_table_pins_every_file():
    for row in (QEMU, *PACKAGES):
        assert len(bytes.fromhex(row.sha256)) == 32
        assert row.size > 0
        version = row.version.split(":")[-1]
        assert row.file == f"{row.name}_{version}_{row.architecture}.deb"
    assert all(len(bytes.fromhex(wheel.sha256)) == 32 for wheel in WHEELS)
    assert all(address.startswith("https://") for address in MIRRORS)


class TestDownload:
    def test_a_file_is_kept_and_not_asked_for_again(self, tmp_path):
        row = package("one", DATA)
        with mirror({row.path: DATA}) as server:
            path = fetch(row, [server.address], tmp_path, no_step)
            assert path.read_bytes() == DATA
            assert fetch(row, [server.address], tmp_path, no_step) == path
            assert server.asked == [(row.path, None)]
        assert sorted(file.name for file in tmp_path.iterdir()) == [row.file]

    def test_a_broken_connection_is_resumed(self, tmp_path):
        row = package("one", DATA)
        with mirror({row.path: DATA}) as server:
            server.breaks = 1000
            with pytest.raises(InputError, match=r"cannot be downloaded .*1000 of 2304000 bytes"):
                fetch(row, [server.address], tmp_path, no_step)
            assert [file.name for file in tmp_path.iterdir()] == [row.file + PART]
            server.breaks = None
            assert fetch(row, [server.address], tmp_path, no_step).read_bytes() == DATA
            assert server.asked[-1] == (row.path, "bytes=1000-")

    @pytest.mark.parametrize("other", [DATA[:-1] + b"x", DATA + b"x"], ids=["altered", "longer"])
    def test_another_file_than_the_pinned_one_is_refused_and_thrown_away(self, tmp_path, other):
        row = package("one", DATA)
        with mirror({row.path: other}) as server, pytest.raises(InputError, match="not the pinned file"):
            fetch(row, [server.address], tmp_path, no_step)
        assert not list(tmp_path.iterdir())

    def test_what_one_mirror_lacks_comes_from_the_next(self, tmp_path):
        row = package("one", DATA)
        with mirror({}) as empty, mirror({row.path: DATA}) as full:
            assert fetch(row, [empty.address, full.address], tmp_path, no_step).read_bytes() == DATA
            assert fetch(package("two", DATA), [empty.address], tmp_path, no_step) is None

    def test_without_a_network_one_line_says_so(self, tmp_path):
        with mirror({}) as server:
            gone = server.address
        with pytest.raises(InputError, match=r"cannot be downloaded .*the first run with --machine needs"):
            fetch(package("one", DATA), [gone], tmp_path, no_step)


class TestUnpack:
    def test_what_is_kept_and_what_is_not(self, tmp_path):
        path, target = tmp_path / "a.deb", tmp_path / "root"
        files = {"./usr/bin/x": b"program", "./usr/share/doc": b"words", "./usr/lib/l": "/etc/l"}
        path.write_bytes(deb(files))
        unpack(path, target, ("usr/bin/", "usr/lib/"))
        assert [p.relative_to(target).as_posix() for p in target.rglob("*") if p.is_file()] == ["usr/bin/x"]
        assert not (target / "usr/lib/l").is_symlink()

    def test_a_file_that_would_lie_elsewhere_is_refused(self, tmp_path):
        path = tmp_path / "a.deb"
        path.write_bytes(deb({"usr/bin/../../../evil": b"x"}))
        with pytest.raises(InputError, match=r"a\.deb: .*remove it"):
            unpack(path, tmp_path / "root", ("usr/bin/",))
        assert not (tmp_path / "evil").exists()

    @pytest.mark.parametrize("data", [b"", b"!<arch>\n", b"PK\3\4", deb({"usr/bin/x": NOISE})[:-3000]])
    def test_damage_is_one_line(self, tmp_path, data):
        path = tmp_path / "a.deb"
        path.write_bytes(data)
        with pytest.raises(InputError, match=r"a\.deb: .*remove it, and the next run downloads it again"):
            unpack(path, tmp_path / "root", ("usr/bin/",))


class TestParts:
    """A part of the environment takes its place when it is whole; until then its downloads are kept."""

    @pytest.fixture
    def rows(self):
        first, second = deb({"usr/bin/first": b"1" * 5000}), deb({"usr/lib/second": b"2" * 5000})
        rows = [package("first", first), package("second", second)]
        return rows, {rows[0].path: first, rows[1].path: second}

    def make(self, rows, folder):
        with environment.installed(rows, folder, no_step):
            pass

    def test_an_interrupted_set_up_leaves_nothing_in_its_place_and_goes_on(self, rows, tmp_path, monkeypatch):
        rows, files = rows
        folder = tmp_path / "part"
        with mirror({rows[0].path: files[rows[0].path]}) as server:
            monkeypatch.setattr(environment, "MIRRORS", (server.address,))
            monkeypatch.setattr(environment.apt, "KEYS", tmp_path / "none")
            with pytest.raises(InputError, match=r"second: .*no longer on Debian's mirrors"):
                self.make(rows, folder)
            assert [entry.name for entry in tmp_path.iterdir()] == ["downloads"]
            server.files.update(files)
            self.make(rows, folder)
            assert [path for path, _ in server.asked].count(rows[0].path) == 1
        assert sorted(entry.name for entry in tmp_path.iterdir()) == ["part"]
        assert (folder / "usr/bin/first").stat().st_mode & 0o111
        assert json.loads((folder / "packages.json").read_text()) == {"first": "1.0", "second": "1.0"}

    def test_newer_packages_than_the_pinned_ones_are_named(self, rows, tmp_path, monkeypatch):
        rows, files = rows
        with mirror({rows[0].path: files[rows[0].path]}) as server:
            monkeypatch.setattr(environment, "MIRRORS", (server.address,))
            newest = tmp_path / "second_1%3a2.0_arm64.deb"
            newest.write_bytes(files[rows[1].path])
            monkeypatch.setattr(environment.apt, "newest", lambda *_: {"second": newest})
            self.make(rows, tmp_path / "part")
        assert environment.newer_packages(tmp_path / "part", rows) == ("second 1:2.0",)


def test_wheels_need_pip(monkeypatch, tmp_path):
    monkeypatch.setattr(wheels.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="python -m ensurepip"):
        wheels.install(WHEELS, tmp_path, tmp_path / "site", no_step)


@pytest.mark.parametrize(
    ("machine", "cpu", "format_name", "message"),
    [
        ("arm46", None, "onnx", "unknown machine 'arm46' .did you mean 'arm64'"),
        ("arm64", "cortex-a67", "onnx", "unknown CPU 'cortex-a67' .did you mean 'cortex-a"),
        ("arm64", "x" * 5000, "onnx", "unknown CPU 'xxx"),
        ("arm64", None, "coreml", "runs bundles of format onnx, and this is one of coreml"),
        (None, "cortex-a76", "onnx", "add --machine arm64"),
    ],
)
def test_what_cannot_be_emulated_is_said_in_one_line(machine, cpu, format_name, message):
    with pytest.raises(InputError, match=message) as refusal:
        chosen_core(machine, cpu, format_name)
    assert len(str(refusal.value)) <= 300


def test_hosts_that_need_no_emulation_and_those_that_have_none():
    check_host("Linux", "x86_64")
    with pytest.raises(InputError, match="is a 64-bit Arm itself; plain `verify` runs on it"):
        check_host("Linux", "aarch64")
    with pytest.raises(InputError, match="Linux x86-64 alone, and this is Windows AMD64"):
        check_host("Windows", "AMD64")


def test_cores_by_name():
    assert core_for(None).name == "cortex-a76"
    assert chosen_core(None, None, "coreml") is None
    assert all(name == core.name for name, core in CORES.items())
    assert kernel_features(["fp", "asimddp", "i8mm"]) == "int8 dot products, int8 matrix products"


class TestFrames:
    def test_arrays_arrive_as_they_were_sent(self):
        pipe = io.BytesIO()
        arrays = [np.arange(6, dtype=np.float32).reshape(2, 3), np.zeros((0, 4), np.int64)]
        frames.write(pipe, {"call": "x"}, arrays)
        pipe.seek(0)
        head, received = frames.read(pipe)
        assert head == {"call": "x"}
        for sent, got in zip(arrays, received, strict=True):
            assert got.dtype == sent.dtype
            assert np.array_equal(got, sent)
            assert got.shape == sent.shape

    @pytest.mark.parametrize(
        ("arrays", "error"),
        [
            ([["|O", [1]]], ValueError),
            ([["<f4", [1 << 40]]], ValueError),
            ([["<f4", [-1]]], ValueError),
            ([["<f4", [1]]] * 513, ValueError),
            ([["<f4", [4]]], EOFError),
        ],
    )
    def test_what_is_no_message_is_refused_before_it_is_read(self, arrays, error):
        head = json.dumps({"head": {}, "arrays": arrays}).encode()
        with pytest.raises(error):
            frames.read(io.BytesIO(len(head).to_bytes(4, "little") + head))

    def test_a_head_has_a_bound(self):
        with pytest.raises(ValueError, match="head has"):
            frames.read(io.BytesIO(b"Erro"))
        with pytest.raises(EOFError):
            frames.read(io.BytesIO(b""))
