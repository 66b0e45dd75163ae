"""Free photographs out of Debian's wallpaper packages, as backgrounds that are none of the scenes' things.

python -m recipes.nano.photographs DIR          # to learn from, by `python -m recipes.nano --photographs`
python -m recipes.nano.photographs DIR --test   # others, to examine Nano on

Needs apt-get and dpkg-deb. A picture is brought down to 768 pixels; LICENCES.txt names the authors.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from phantom_edge.errors import InputError, PhantomEdgeError
from phantom_edge.system.outputs import check_new_folder
from phantom_edge.system.writing import replacing_folder

LONGEST = 768  # pixels of the longer side
LICENCES = "LICENCES.txt"
BACKGROUNDS = "usr/share/backgrounds"


@dataclass(frozen=True)
class Photograph:
    """A file of a package, below its ``usr/share/backgrounds``."""

    package: str
    path: str
    author: str
    licence: str


def _lomiri(name: str, author: str, licence: str = "CC-BY-4.0", year: str = "16.04") -> Photograph:
    return Photograph(f"lomiri-wallpapers-{year}", f"{name}.jpg", author, licence)


def _mate(name: str, author: str) -> Photograph:
    return Photograph("mate-backgrounds", f"mate/nature/{name}.jpg", author, "GPL-2+")


def _ukui(name: str) -> Photograph:
    return Photograph("ukui-wallpapers", name, "Ubuntu Kylin community contributors", "CC-BY-SA-3.0")


TRAIN = (
    _lomiri("Bridge_by_Sander_Klootwijk", "Sander Klootwijk", "CC-BY-SA-4.0"),
    _lomiri("Dragonfly_by_Bolly", "Bolly", "CC-BY-SA-4.0"),
    _lomiri("Picture_0B_by_freespace", "Trevor Freespace"),
    _lomiri("Picture_1A_by_freespace", "Trevor Freespace"),
    _lomiri("Wine_by_Jakkub_Mede", "Jakub Mede"),
    _lomiri("aitzgorri_by_Aitzol_Berasategi", "Aitzol Berasategi"),
    _lomiri("analogpattern_by_Peter_Nerlich", "Peter Nerlich", "CC-BY-SA-4.0"),
    _lomiri("free_by_Peter_Nerlich", "Peter Nerlich", "CC-BY-SA-4.0"),
    _lomiri("friends_by_Aitzol_Berasategi", "Aitzol Berasategi"),
    _lomiri("life_by_Aitzol_Berasategi", "Aitzol Berasategi"),
    _lomiri("picosdeeuropa_by_Aitzol_Berasategi", "Aitzol Berasategi"),
    _lomiri("seeding_by_Clements_Engelhardt", "Clemens Engelhardt", "CC0-1.0"),
    _lomiri("sunset_by_Aitzol_Berasategi", "Aitzol Berasategi"),
    _lomiri("umang_by_Abhishek_Mudgal", "Abhishek Mudgal"),
    _lomiri("Fossa_by_Jasper_Roks", "Jasper Roks", "CC-BY-SA-3.0", "20.04"),
    _lomiri("Infinite-Sea_by_Aury88", "Aury88", "CC-BY-SA-3.0", "20.04"),
    _lomiri("Kleiber_by_Lukas_Baubkus", "Lukas Baubkus", "CC-BY-SA-3.0", "20.04"),
    _ukui("2004default.jpg"),
    _ukui("rhythm.jpg"),
    _ukui("string.jpg"),
)
TEST = (
    _mate("Aqua", "Charles Barbin"),
    _mate("Blinds", "Lennart Poettering, Andrea Cimitan"),
    _mate("Dune", "Marco Cogoni, Hylke Bons"),
    _mate("FreshFlower", "Jens Ansorg"),
    _mate("Garden", "Charles Barbin"),
    _mate("GreenMeadow", "Timothy Schellhase, Lapo Calamandrei"),
    _mate("LadyBird", "Charles Barbin"),
    _mate("RainDrops", "blackcombwhistler07"),
    _mate("Storm", "Sergey Nazarov"),
    _mate("TwoWings", "Charles Barbin, Hylke Bons"),
    _mate("Wood", "Jean-François Fortin Tam"),
    _mate("YellowFlower", "Charles Barbin"),
)


def read_photographs(folder: Path) -> list[Image.Image]:
    """The PNG files of a folder as RGB pictures, in the order of their names. Raises InputError for none."""
    paths = sorted(folder.glob("*.png"))
    if not paths:
        raise InputError(f"{folder}: no PNG pictures; make them by `python -m recipes.nano.photographs`")
    return [Image.open(path).convert("RGB") for path in paths]


def write_photographs(folder: Path, photographs: tuple[Photograph, ...]) -> None:
    """Fetch the packages and write their photographs to a new folder. Raises InputError."""
    check_new_folder(folder)
    with tempfile.TemporaryDirectory() as place, replacing_folder(folder, check_new_folder) as partial:
        for package in dict.fromkeys(photograph.package for photograph in photographs):
            _unpack(package, Path(place))
        for photograph in photographs:
            with Image.open(Path(place, BACKGROUNDS, photograph.path)) as image:
                small = image.convert("RGB")
            small.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
            small.save(partial / f"{Path(photograph.path).stem}.png")
        rows = [
            f"{Path(p.path).stem}.png: {p.author}, {p.licence}; Debian's {p.package}" for p in photographs
        ]
        (partial / LICENCES).write_text("\n".join(rows) + "\n", encoding="utf-8")


def _unpack(package: str, place: Path) -> None:
    try:
        subprocess.run(["apt-get", "download", package], cwd=place, check=True, capture_output=True)
        (archive,) = place.glob(f"{package}_*.deb")
        subprocess.run(["dpkg-deb", "-x", str(archive), str(place)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError, ValueError) as error:
        why = f"the package {package} cannot be had ({error})"
        raise InputError(f"{why}: run `apt-get update` first") from None


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m recipes.nano.photographs", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--test", action="store_true", help="those to examine Nano on")
    arguments = parser.parse_args()
    try:
        write_photographs(arguments.folder.absolute(), TEST if arguments.test else TRAIN)
    except PhantomEdgeError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
