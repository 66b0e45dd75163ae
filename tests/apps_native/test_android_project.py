"""The Gradle project: its XML, its references to resources, libraries and files, and the app compiled and
tested.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tomllib
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from kotlin import CLASSPATH, JAVA, KOTLIN, needs_kotlin

from phantom_edge.apps.sources import app_sources

STUBS = Path(__file__).parent / "stubs" / "android"
ANDROID = "{http://schemas.android.com/apk/res/android}"


def resources(project: Path) -> dict[str, set[str]]:
    """Names of the app's resources by kind, ids among them."""
    names: dict[str, set[str]] = {"id": set()}
    for path in (project / "app/src/main/res").rglob("*.xml"):
        tree = ElementTree.parse(path)
        kind = path.parent.name.partition("-")[0]
        if kind == "values":
            for item in tree.getroot():
                names.setdefault(item.tag, set()).add(item.get("name"))
        else:
            names.setdefault(kind, set()).add(path.stem)
        declared = (value for node in tree.iter() for value in node.attrib.values())
        names["id"] |= {value[5:] for value in declared if value.startswith("@+id/")}
    return names


def test_every_resource_that_is_named_exists(android_project):
    known = resources(android_project)
    paths = [
        *(android_project / "app/src/main/res").rglob("*.xml"),
        android_project / "app/src/main/AndroidManifest.xml",
    ]
    named = set()
    for path in paths:
        named |= set(re.findall(r"[\">]@(\w+)/([\w.]+)", path.read_text()))
    code = "".join(p.read_text() for p in (android_project / "app/src").rglob("*.kt"))
    named |= set(re.findall(r"(?<!android\.)\bR\.(\w+)\.(\w+)", code))
    assert len(named) > 60
    assert not [f"{kind}/{name}" for kind, name in named if name not in known.get(kind, set())]
    unused = known["string"] - {name for kind, name in named if kind == "string"}
    assert not unused


def test_both_layouts_have_the_same_views(android_project):
    def ids(folder: str, name: str) -> set[str]:
        tree = ElementTree.parse(android_project / f"app/src/main/res/{folder}/{name}.xml")
        return {node.get(f"{ANDROID}id") for node in tree.iter()} - {None}

    for name in ("main", "panel"):
        assert ids("layout", name) == ids("layout-land", name)


def test_pictures_and_buttons_have_words(android_project):
    for path in (android_project / "app/src/main/res").rglob("layout*/*.xml"):
        for node in ElementTree.parse(path).iter():
            if node.tag in ("ImageButton", "Button"):
                words = node.get(f"{ANDROID}contentDescription") or node.get(f"{ANDROID}text")
                assert words, f"{path.name}: {node.get(f'{ANDROID}id')}"


def test_contrast_of_words_is_at_least_4_5(android_project):
    tree = ElementTree.parse(android_project / "app/src/main/res/values/colors.xml")
    colours = {c.get("name"): c.text for c in tree.getroot()}

    def light(name: str) -> float:
        parts = [int(colours[name][-6:][n : n + 2], 16) / 255 for n in (0, 2, 4)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    pairs = [("ink", "panel"), ("ink", "ground"), ("ink", "raised"), ("faint", "raised"), ("faint", "panel")]
    for text, ground in [*pairs, ("on_accent", "accent"), ("ground", "ink"), ("faint", "ground")]:
        a, b = sorted((light(text), light(ground)))
        assert (b + 0.05) / (a + 0.05) >= 4.5, (text, ground)
    css = (app_sources("web") / "src/ui/style.css").read_text()
    for name in ("ink", "panel", "raised", "line", "warn"):
        dark = re.escape(colours[name].lower())
        shared = re.search(rf"--{name}: light-dark\(#\w+, {dark}\)", css)
        assert shared, "the three apps share their dark colours"
    assert f"--accent-dark: {colours['accent'].lower()};" in css


def test_the_manifest(android_project):
    root = ElementTree.parse(android_project / "app/src/main/AndroidManifest.xml").getroot()
    permissions = {p.get(f"{ANDROID}name") for p in root.iter("uses-permission")}
    assert permissions == {"android.permission.CAMERA", "android.permission.INTERNET"}
    assert all(
        f.get(f"{ANDROID}required") == "false" for f in root.iter("uses-feature") if f.get(f"{ANDROID}name")
    )
    meta = {m.get(f"{ANDROID}name"): m.get(f"{ANDROID}value") for m in root.iter("meta-data")}
    assert meta == {"com.google.ar.core": "optional"}
    activity = next(root.iter("activity"))
    folder, name = activity.get(f"{ANDROID}name").rsplit(".", 1)
    source = android_project / "app/src/main/kotlin" / folder.replace(".", "/") / f"{name}.kt"
    assert f"class {name} : " in source.read_text()
    assert activity.get(f"{ANDROID}exported") == "true"


def test_the_title_survives_every_format(android_project):
    tree = ElementTree.parse(android_project / "app/src/main/res/values/title.xml")
    assert tree.getroot().find("string").text == 'Bob\\\'s \\"Line\\" <4> ü'


def test_gradle_names_what_is_there(android_project):
    settings = (android_project / "settings.gradle.kts").read_text()
    assert 'rootProject.name = "ShopFloor"' in settings
    modules = re.findall(r'include\(":(\w+)"\)', settings)
    assert sorted(modules) == ["app", "model", "phantomedge"]
    catalogue = tomllib.loads((android_project / "gradle/libs.versions.toml").read_text())
    for table in ("libraries", "plugins"):
        for entry in catalogue[table].values():
            assert entry["version"]["ref"] in catalogue["versions"]
    scripts = [
        android_project / "build.gradle.kts",
        *(android_project / m / "build.gradle.kts" for m in modules),
    ]
    text = "".join(path.read_text() for path in scripts)
    named = {name.replace(".", "-") for name in re.findall(r"\(libs\.(?:plugins\.)?([\w.]+)\)", text)}
    assert named == {*catalogue["libraries"], *catalogue["plugins"]}
    for path in re.findall(r'(?:directories \+=|proguardFiles\().*?"(\.\./[^"]+|[\w-]+\.pro)"', text):
        assert (android_project / "app" / path).exists(), path
    for name in re.findall(r'setting\("(\w+)"\)', text):
        assert f"phantom.{name}=" in (android_project / "gradle.properties").read_text()
    library = (android_project / "phantomedge/build.gradle.kts").read_text()
    for number in (r"compileSdk = (\d+)", r"minSdk = (\d+)", r"jvmToolchain\((\d+)\)"):
        app = (android_project / "app/build.gradle.kts").read_text()
        assert re.search(number, app)[1] == re.search(number, library)[1]
    assert catalogue["versions"]["coroutines"] in library


def test_the_wrapper_is_pinned_by_a_digest(android_project):
    lines = (android_project / "gradle/wrapper/gradle-wrapper.properties").read_text().splitlines()
    values = dict(line.split("=", 1) for line in lines)
    assert re.fullmatch(r"[0-9a-f]{64}", values["distributionSha256Sum"])
    assert values["distributionUrl"].startswith("https\\://services.gradle.org/distributions/gradle-")


def test_the_wrapper_is_gradles_own_and_starts(android_project, tmp_path):
    """Up to where it would fetch Gradle: the address is one of this machine, where nobody answers."""
    jar = android_project / "gradle/wrapper/gradle-wrapper.jar"
    digest = hashlib.sha256(jar.read_bytes()).hexdigest()
    assert f"`{digest}`" in (Path(__file__).parents[2] / "docs/app-pins.md").read_text()
    assert os.access(android_project / "gradlew", os.X_OK)
    if shutil.which("java") is None:
        return
    copy = shutil.copytree(android_project / "gradle/wrapper", tmp_path / "gradle/wrapper").parents[1]
    shutil.copy(android_project / "gradlew", copy)
    properties = copy / "gradle/wrapper/gradle-wrapper.properties"
    address = "http\\://127.0.0.1:9/gradle-9.6.1-bin.zip"
    properties.write_text(re.sub(r"(?<=distributionUrl=).*", lambda _: address, properties.read_text()))
    environment = {**os.environ, "GRADLE_USER_HOME": str(tmp_path / "home")}
    started = subprocess.run(
        ["./gradlew", "--version"], cwd=copy, env=environment, capture_output=True, text=True, check=False
    )
    assert started.returncode != 0
    assert "127.0.0.1:9/gradle-9.6.1-bin.zip" in started.stdout + started.stderr


# --- compiled -----------------------------------------------------------------------------------------------


def r_class(kind: str, names: set[str]) -> str:
    fields = "".join(f" public static final int {name} = 1;" for name in sorted(names) if "." not in name)
    return f"public static final class {kind} {{{fields} }}\n"


def write_declarations(folder: Path, project: Path) -> list[str]:
    """The declarations of ``stubs`` as Java files, and the two classes that Gradle generates."""
    texts = {}
    for path in STUBS.glob("*.java.txt"):
        for part in re.split(r"^== ", path.read_text(), flags=re.MULTILINE)[1:]:
            name, _, texts[name] = part.partition("\n")
    kinds = "".join(map(r_class, *zip(*resources(project).items(), strict=True)))
    texts["phantom/edge/ar/R"] = f"package phantom.edge.ar;\npublic final class R {{\n{kinds}}}\n"
    url = 'public static final String MODEL_URL = "", NPU_URL = "";'
    texts["phantom/edge/ar/BuildConfig"] = (
        f"package phantom.edge.ar;\npublic final class BuildConfig {{ {url} }}\n"
    )
    for name, text in texts.items():
        path = folder / f"{name}.java"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return [str(folder / f"{name}.java") for name in texts]


def compile_kotlin(name: str, sources: list[Path | str], classpath: list[Path | str], output: Path) -> Path:
    options = [
        "-nowarn",
        "-no-stdlib",
        "-no-reflect",
        "-module-name",
        name,
        "-cp",
        ":".join(map(str, classpath)),
    ]
    quick = {**os.environ, "JAVA_OPTS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xmx1g"}
    words = [KOTLIN, *options, *map(str, sources), "-d", str(output)]
    made = subprocess.run(words, capture_output=True, text=True, env=quick, check=False)
    assert made.returncode == 0, made.stderr[-6000:]
    return output


@needs_kotlin
def test_the_app_compiles_against_the_library_and_its_tests_pass(android_project, tiny_bundle, tmp_path):
    """All of the app, type-checked: the library is another module, so what is internal to it is out of reach
    here.
    """
    declared = write_declarations(tmp_path / "declared", android_project)
    core = [*(android_project / "phantomedge/src/main").rglob("*.kt")]
    module = compile_kotlin("phantomedge", [*core, *declared], CLASSPATH, tmp_path / "phantomedge.jar")
    own = [
        *(android_project / "app/src/main").rglob("*.kt"),
        *(android_project / "app/src/test").rglob("*.kt"),
    ]
    app = compile_kotlin(
        "app", [*own, *STUBS.glob("*.kt"), *declared], [module, *CLASSPATH], tmp_path / "app.jar"
    )
    tests = [p for p in own if p.name.endswith("Test.kt")]
    assert len(tests) >= 6
    names = [f"phantom.edge.ar.core.{p.stem}" for p in tests]
    words = [JAVA, "-cp", ":".join(map(str, [app, module, *CLASSPATH])), "org.junit.runner.JUnitCore", *names]
    vectors = Path(__file__).parents[1] / "support"
    environment = {
        **os.environ,
        "PHANTOM_EDGE_BUNDLE": str(tiny_bundle),
        "PHANTOM_EDGE_APP_VECTORS": str(vectors),
    }
    result = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=300, check=False)
    wrong = re.findall(r"^\d+\) .*\n.*", result.stdout, flags=re.MULTILINE)
    assert result.returncode == 0, "\n".join(line[:1000] for line in wrong) or result.stderr[-3000:]
    count = sum(path.read_text().count("    @Test\n") for path in tests)
    assert f"OK ({count} tests)" in result.stdout, result.stdout[-300:]


def test_the_core_needs_no_android(android_project):
    for path in (android_project / "app/src/main/kotlin/phantom/edge/ar/core").glob("*.kt"):
        imports = re.findall(r"^import (\S+)", path.read_text(), flags=re.MULTILINE)
        assert all(
            name.startswith(("java.", "kotlin.", "kotlinx.", "phantom.edge.core.")) for name in imports
        ), path
