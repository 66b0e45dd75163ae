"""The Xcode project, read by parsers that others wrote: every object, path, plist and asset of it."""

from __future__ import annotations

import json
import plistlib
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from PIL import Image

from phantom_edge.apps.ios import IosRequest, write_ios_app
from phantom_edge.apps.sources import app_sources

NAME = "ShopFloor"
EMBEDDED = {"bundle", "app.json", "THIRD_PARTY_NOTICES.txt"}  # what a checkout lacks


def parsed(folder: Path, name: str) -> dict[str, dict]:
    """A project's objects, as an OpenStep parser reads them."""
    parser = pytest.importorskip("openstep_parser", reason="needs a parser of Xcode projects (PyPI: pbxproj)")
    with open(folder / f"{name}.xcodeproj" / "project.pbxproj", encoding="utf-8") as file:
        tree = parser.OpenStepDecoder.ParseFromFile(file)
    assert (tree["archiveVersion"], tree["objectVersion"]) == ("1", "77")
    assert tree["objects"][tree["rootObject"]]["isa"] == "PBXProject"
    return tree["objects"]


@pytest.fixture(scope="module")
def objects(ios_project) -> dict[str, dict]:
    return parsed(ios_project, NAME)


def settings(objects: dict[str, dict], folder: Path) -> dict[tuple[str, str], dict]:
    """The settings by target and configuration: the file's, the project's, the target's; names filled in."""
    (project,) = of(objects, "PBXProject").values()
    configurations = {
        owner.get("name", ""): objects[owner["buildConfigurationList"]]["buildConfigurations"]
        for owner in [project, *(objects[key] for key in project["targets"])]
    }
    shared = {}
    for key in configurations.pop(""):
        file = folder / objects[objects[key]["baseConfigurationReference"]]["path"]
        lines = [re.sub(r"//.*", "", line) for line in file.read_text(encoding="utf-8").splitlines()]
        named = dict(re.split(r"\s*=\s*", line, maxsplit=1) for line in lines if "=" in line)
        shared[objects[key]["name"]] = named | objects[key]["buildSettings"]
    made = {}
    for target, keys in configurations.items():
        for key in keys:
            all_ = shared[objects[key]["name"]] | objects[key]["buildSettings"] | {"TARGET_NAME": target}
            made[target, objects[key]["name"]] = {
                name: filled_in(value, all_) for name, value in all_.items()
            }
    return made


def filled_in(value: str | list, settings: dict) -> str | list:
    """A value with the settings of this project in the places of their names."""
    if isinstance(value, list):
        return value
    once = re.sub(r"\$\((PHANTOM_\w+|TARGET_NAME)\)", lambda match: settings[match[1]], value)
    return once.replace("$()", "") if once == value else filled_in(once, settings)


def of(objects: dict[str, dict], isa: str) -> dict[str, dict]:
    return {key: item for key, item in objects.items() if item["isa"] == isa}


def test_every_reference_has_an_object_and_every_object_a_reference(objects):
    text = json.dumps(objects)
    named = set(re.findall(r'"([0-9A-F]{24})"', text))
    assert named == set(objects)
    counts = {key: text.count(f'"{key}"') for key in objects}
    lonely = [objects[key]["isa"] for key, count in counts.items() if count < 2]
    assert lonely == []


def test_an_editor_of_projects_opens_it_and_writes_it_again(ios_project, tmp_path):
    pbxproj = pytest.importorskip("pbxproj", reason="needs a parser of Xcode projects (PyPI: pbxproj)")
    copy = tmp_path / "project.pbxproj"
    copy.write_bytes((ios_project / f"{NAME}.xcodeproj" / "project.pbxproj").read_bytes())
    project = pbxproj.XcodeProject.load(str(copy))
    assert {t.name for t in project.objects.get_targets()} == {NAME, f"{NAME}Tests", f"{NAME}UITests"}
    project.add_flags("SWIFT_VERSION", "6.0", NAME)
    project.save()
    assert "6.0" in copy.read_text()


def test_every_path_of_the_project_exists(objects, ios_project):
    group = next(g for g in of(objects, "PBXGroup").values() if "path" in g)
    assert len(group["children"]) == len(of(objects, "PBXFileSystemSynchronizedRootGroup")) == 3
    for key in group["children"]:
        assert list((ios_project / group["path"] / objects[key]["path"]).rglob("*.swift"))
    sources = of(objects, "PBXFileReference").values()
    for file in (f for f in sources if f["sourceTree"] == "<group>"):
        assert (ios_project / file["path"]).exists(), file["path"]
    for package in of(objects, "XCLocalSwiftPackageReference").values():
        manifest = (ios_project / package["relativePath"] / "Package.swift").read_text()
        for path in re.findall(r'\.package\(path: "([^"]+)"\)', manifest):
            assert (ios_project / package["relativePath"] / path / "Package.swift").is_file()
    products = {p["productName"] for p in of(objects, "XCSwiftPackageProductDependency").values()}
    declared = "".join(p.read_text() for p in ios_project.rglob("Package.swift"))
    assert products == set(re.findall(r'\.library\(name: "(\w+)"', declared))
    kinds = {f["path"]: f["lastKnownFileType"] for f in sources if "lastKnownFileType" in f}
    assert kinds["bundle"] == "folder", "a folder reference: Xcode must copy the packages, not compile them"


def test_the_settings_are_those_of_the_request(objects, ios_project):
    targets = {t["name"] for t in of(objects, "PBXNativeTarget").values()}
    assert targets == {NAME, f"{NAME}Tests", f"{NAME}UITests"}
    made = settings(objects, ios_project)
    assert len(made) == 6
    identifier = f"org.example.{NAME}$(DEVELOPMENT_TEAM)"
    for (target, _), own in made.items():
        assert own["DEVELOPMENT_TEAM"] == "ABCDE12345"
        if target != NAME:
            assert own["PRODUCT_BUNDLE_IDENTIFIER"] == f"{identifier}.{target}"
            continue
        assert own["INFOPLIST_KEY_CFBundleDisplayName"] == 'Bob\'s "Line" <4> ü'
        assert (own["PRODUCT_NAME"], own["PRODUCT_MODULE_NAME"]) == (NAME, "PhantomAR")
        assert own["PRODUCT_BUNDLE_IDENTIFIER"] == identifier
        for path in (own["INFOPLIST_FILE"], own["CODE_SIGN_ENTITLEMENTS"]):
            assert (ios_project / path).is_file()
    host = f"$(BUILT_PRODUCTS_DIR)/{NAME}.app/$(BUNDLE_EXECUTABLE_FOLDER_PATH)/{NAME}"
    for kind, version in (("Debug", "dwarf"), ("Release", "dwarf-with-dsym")):
        assert made[f"{NAME}Tests", kind]["TEST_HOST"] == host
        assert made[f"{NAME}UITests", kind]["TEST_TARGET_NAME"] == NAME
        assert made[NAME, kind]["DEBUG_INFORMATION_FORMAT"] == version
    exceptions = next(iter(of(objects, "PBXFileSystemSynchronizedBuildFileExceptionSet").values()))
    for path in exceptions["membershipExceptions"]:
        assert (ios_project / "PhantomAR/App" / path).is_file()
    deployment = made[NAME, "Release"]["IPHONEOS_DEPLOYMENT_TARGET"]
    assert f".iOS(.v{deployment.split('.')[0]})" in (ios_project / "PhantomEdge/Package.swift").read_text()


def test_the_project_opens_from_a_checkout(objects, ios_project):
    """The same objects under the name of the sources; every path but those of what is embedded exists."""
    sources = app_sources("ios")
    own = parsed(sources, "PhantomAR")
    written = json.dumps(objects).replace(NAME, "PhantomAR")
    assert json.loads(written) == own
    for file in of(own, "PBXFileReference").values():
        if file["sourceTree"] == "<group>":
            assert (sources / file["path"]).exists() != (file["path"] in EMBEDDED)
    made = settings(own, sources)["PhantomAR", "Release"]
    assert made["PRODUCT_BUNDLE_IDENTIFIER"] == "org.example.PhantomAR$(DEVELOPMENT_TEAM)"
    assert (made["DEVELOPMENT_TEAM"], made["INFOPLIST_KEY_CFBundleDisplayName"]) == ("", "Phantom Edge")


def test_a_title_that_a_configuration_file_could_misread(ios_bundle, tmp_path):
    request = IosRequest("Shop-Floor_2", "4 // 5 = $x;", "com.company.shop")
    project = write_ios_app(ios_bundle, tmp_path / "out", request)
    made = settings(parsed(project.parent, "Shop-Floor_2"), project.parent)["Shop-Floor_2", "Debug"]
    assert made["INFOPLIST_KEY_CFBundleDisplayName"] == "4 // 5 = $x;"
    assert (made["PRODUCT_BUNDLE_IDENTIFIER"], made["DEVELOPMENT_TEAM"]) == ("com.company.shop", "")


def test_the_scheme_names_the_projects_targets(objects, ios_project):
    path = ios_project / f"{NAME}.xcodeproj/xcshareddata/xcschemes/{NAME}.xcscheme"
    tree = ElementTree.parse(path)
    references = list(tree.iter("BuildableReference"))
    assert len(references) >= 5
    for reference in references:
        assert objects[reference.get("BlueprintIdentifier")]["name"] == reference.get("BlueprintName")
        assert reference.get("ReferencedContainer") == f"container:{NAME}.xcodeproj"
    assert len(list(tree.iter("TestableReference"))) == 2


def test_property_lists(ios_project):
    app = ios_project / "PhantomAR/App"
    info = plistlib.loads((app / "Info.plist").read_bytes())
    assert "stay on this device" in info["NSCameraUsageDescription"]
    assert plistlib.loads((app / "PhantomAR.entitlements").read_bytes()) == {
        "com.apple.developer.kernel.increased-memory-limit": True
    }
    privacy = plistlib.loads((app / "Resources/PrivacyInfo.xcprivacy").read_bytes())
    assert privacy["NSPrivacyTracking"] is False
    assert privacy["NSPrivacyCollectedDataTypes"] == []
    # Apple wants a reason for each of these interfaces that the code uses.
    code = "".join(p.read_text() for p in ios_project.rglob("Sources/**/*.swift"))
    used = {
        "UserDefaults": r"\bUserDefaults\b",
        "FileTimestamp": r"attributesOfItem|contentModificationDate",
        "DiskSpace": r"systemFreeSize|volumeAvailableCapacity",
    }
    expected = {f"NSPrivacyAccessedAPICategory{name}" for name, use in used.items() if re.search(use, code)}
    assert {row["NSPrivacyAccessedAPIType"] for row in privacy["NSPrivacyAccessedAPITypes"]} == expected


def test_assets(ios_project):
    catalogue = ios_project / "PhantomAR/App/Resources/Assets.xcassets"
    for contents in catalogue.rglob("Contents.json"):
        for image in json.loads(contents.read_text()).get("images", []):
            with Image.open(contents.parent / image["filename"]) as icon:
                assert f"{icon.width}x{icon.height}" == image["size"]
                assert icon.mode == "RGB", "the App Store refuses icons with transparency"
    launch = plistlib.loads((ios_project / "PhantomAR/App/Info.plist").read_bytes())["UILaunchScreen"][
        "UIColorName"
    ]
    assert (catalogue / f"{launch}.colorset").is_dir()


def test_texts_that_ui_tests_look_for_are_in_the_views(ios_project):
    views = "".join(p.read_text() for p in (ios_project / "PhantomAR/App/Sources").glob("*.swift"))
    tests = "".join(p.read_text() for p in (ios_project / "PhantomAR/AppUITests").glob("*.swift"))
    identifiers = set(re.findall(r'app\.(?:buttons|textFields)\["([^"]+)"\]', tests))
    assert len(identifiers) >= 4
    for identifier in identifiers:
        assert re.sub(r"-\d$", "-", identifier) in views, identifier
