"""What the emulated environment is made of: versions, sizes and SHA-256 of every file, and where they are.

To renew the table: the newest versions of one Debian release and of the wheels for its Python, all at once;
then `pytest -m arm64`, and the date of the archive's snapshot.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

RELEASE: Final = "trixie"  # Debian 13
SNAPSHOT: Final = "20261129T000000Z"
MIRRORS: Final = (
    "https://deb.debian.org/debian",
    f"https://snapshot.debian.org/archive/debian/{SNAPSHOT}",  # keeps what the mirrors drop
)


@dataclass(frozen=True)
class DebianPackage:
    """A file of Debian's archive: ``path`` below a mirror, ``size`` in bytes.

    Of what it holds, ``keep`` is unpacked: files and folders that begin so.
    """

    name: str
    version: str
    path: str
    size: int
    sha256: str
    architecture: str = "arm64"
    keep: tuple[str, ...] = ("usr/bin/", "usr/lib/")

    @property
    def file(self) -> str:
        """Its name on the mirror."""
        return PurePosixPath(self.path).name


@dataclass(frozen=True)
class Wheel:
    """A package of the Python index."""

    name: str
    version: str
    sha256: str


QEMU: Final = DebianPackage(
    "qemu-user",
    "1:10.0.13+ds-0+deb13u1",
    "pool/main/q/qemu/qemu-user_10.0.13+ds-0+deb13u1_amd64.deb",
    71089852,
    "ca6ede739327a20ae5a3498230c8a3a9a072c586e131bc6bcc1201eb1725e336",
    "amd64",
    ("usr/bin/qemu-aarch64",),
)
PACKAGES: Final = (
    DebianPackage(
        "libc6",
        "2.41-12+deb13u5",
        "pool/main/g/glibc/libc6_2.41-12+deb13u5_arm64.deb",
        2488872,
        "0966fc3da1a26cc57647c68b5736f791b6e7eb498173a7993f63b6c89b4ed4f5",
    ),
    DebianPackage(
        "libgcc-s1",
        "14.2.0-19",
        "pool/main/g/gcc-14/libgcc-s1_14.2.0-19_arm64.deb",
        54104,
        "1108bc87879833d6d9a145f22a4a15cddb34e065b4b5f4b97bee586adbac2851",
    ),
    DebianPackage(
        "libstdc++6",
        "14.2.0-19",
        "pool/main/g/gcc-14/libstdc++6_14.2.0-19_arm64.deb",
        637536,
        "6669b0c52a2e7c6af9adfdabce3ff6e286065cdfbc7b85280862b5f799daebee",
    ),
    DebianPackage(
        "zlib1g",
        "1:1.3.dfsg+really1.3.1-1+deb13u1",
        "pool/main/z/zlib/zlib1g_1.3.dfsg+really1.3.1-1+deb13u1_arm64.deb",
        85028,
        "0e41b3d7ad8ad7fcd36dd4d61ca91a70018478fc4af652e044f4be770784ddff",
    ),
    DebianPackage(
        "libexpat1",
        "2.9.0-1~deb13u1",
        "pool/main/e/expat/libexpat1_2.9.0-1~deb13u1_arm64.deb",
        113920,
        "d9e1c50fcdad079fe16d77f1578adcc763be1bf7f2da7fa8adca7010b0c84c83",
    ),
    DebianPackage(
        "python3.13-minimal",
        "3.13.5-2+deb13u5",
        "pool/main/p/python3.13/python3.13-minimal_3.13.5-2+deb13u5_arm64.deb",
        2008016,
        "95237a3ad99bf9366308e16f7c79449c9371c4cff9c883772fb7c254652467eb",
    ),
    DebianPackage(
        "libpython3.13-minimal",
        "3.13.5-2+deb13u5",
        "pool/main/p/python3.13/libpython3.13-minimal_3.13.5-2+deb13u5_arm64.deb",
        856328,
        "3655ef258b19142cf6fe38ef89731d5c630b2cf3309632494a720b28c1cfcd85",
    ),
    DebianPackage(
        "libpython3.13-stdlib",
        "3.13.5-2+deb13u5",
        "pool/main/p/python3.13/libpython3.13-stdlib_3.13.5-2+deb13u5_arm64.deb",
        1894712,
        "d1178d24e4d143cc6c577d9dc0f26dd982efccc2e600d25ce86361f168a22be0",
    ),
)

PYTHON: Final = "3.13"
PLATFORM: Final = "manylinux_2_28_aarch64"
WHEELS: Final = (
    Wheel("numpy", "2.5.5", "ae2b8285d0b4eed24739c3ca9ec0fa424a0247489c01e1d5fe2815a599e11d33"),
    Wheel("onnxruntime", "1.32.0", "54d02baff2df38777b4c3cc7af326406fe8b8a48f54720f4c446d2d327920a79"),
)
