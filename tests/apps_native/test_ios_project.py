"""The Xcode project, read by parsers that others wrote: every object, path, plist and asset of it."""

from __future__ import annotations

import json
import plistlib
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from PIL import Image

from phantom_edge.apps.ios import IosRequest

NAME = "ShopFloor"


@pytest.fixture(scope="module")
def objects(ios_project) -> dict[str, dict]:
    """The project's objects, as an OpenStep parser reads them."""
    parser = pytest.importorskip("openstep_parser", reason="needs a parser of Xcode projects (PyPI: pbxproj)")
    with open(ios_project / f"{NAME}.xcodeproj" / "project.pbxproj", encoding="utf-8") as file:
        tree = parser.OpenStepDecoder.ParseFromFile(file)
    assert (tree["archiveVersion"], tree["objectVersion"]) == ("1", "77")
    assert tree["objects"][tree["rootObject"]]["isa"] == "PBXProject"
    return tree["objects"]


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


def test_the_settings_are_those_that_were_asked_for(objects, ios_project):
    targets = {t["name"]: t for t in of(objects, "PBXNativeTarget").values()}
    assert set(targets) == {NAME, f"{NAME}Tests", f"{NAME}UITests"}
    lists = {name: objects[t["buildConfigurationList"]]["buildConfigurations"] for name, t in targets.items()}
    for key in lists[NAME]:
        settings = objects[key]["buildSettings"]
        assert settings["DEVELOPMENT_TEAM"] == "ABCDE12345"
        assert settings["INFOPLIST_KEY_CFBundleDisplayName"] == 'Bob\'s "Line" <4> ü'
        assert (settings["PRODUCT_NAME"], settings["PRODUCT_MODULE_NAME"]) == (NAME, "PhantomAR")
        assert settings["PRODUCT_BUNDLE_IDENTIFIER"] == f"org.example.{NAME}$(DEVELOPMENT_TEAM)"
        for path in (settings["INFOPLIST_FILE"], settings["CODE_SIGN_ENTITLEMENTS"]):
            assert (ios_project / path).is_file()
    for key in lists[f"{NAME}Tests"]:
        assert objects[key]["buildSettings"]["TEST_HOST"].endswith(
            f"/{NAME}.app/$(BUNDLE_EXECUTABLE_FOLDER_PATH)/{NAME}"
        )
    exceptions = next(iter(of(objects, "PBXFileSystemSynchronizedBuildFileExceptionSet").values()))
    for path in exceptions["membershipExceptions"]:
        assert (ios_project / "PhantomAR/App" / path).is_file()
    deployment = next(
        c["buildSettings"]["IPHONEOS_DEPLOYMENT_TARGET"]
        for c in of(objects, "XCBuildConfiguration").values()
        if "IPHONEOS_DEPLOYMENT_TARGET" in c["buildSettings"]
    )
    assert f".iOS(.v{deployment.split('.')[0]})" in (ios_project / "PhantomEdge/Package.swift").read_text()


def test_the_scheme_names_the_projects_targets(objects, ios_project):
    path = ios_project / f"{NAME}.xcodeproj/xcshareddata/xcschemes/{NAME}.xcscheme"
    tree = ElementTree.parse(path)
    references = list(tree.iter("BuildableReference"))
    assert len(references) >= 5
    for found in references:
        assert objects[found.get("BlueprintIdentifier")]["name"] == found.get("BlueprintName")
        assert found.get("ReferencedContainer") == f"container:{NAME}.xcodeproj"
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
    used = {"UserDefaults": r"\bUserDefaults\b", "FileTimestamp": r"attributesOfItem|contentModificationDate"}
    wanted = {f"NSPrivacyAccessedAPICategory{name}" for name, use in used.items() if re.search(use, code)}
    assert {row["NSPrivacyAccessedAPIType"] for row in privacy["NSPrivacyAccessedAPITypes"]} == wanted


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


def test_the_same_request_gives_the_same_text():
    app = IosRequest(name="One").resolve(Path("out"))
    assert app.pbxproj() == app.pbxproj()
    assert IosRequest(name="Two").resolve(Path("out")).pbxproj() != app.pbxproj()


def test_texts_that_ui_tests_look_for_are_in_the_views(ios_project):
    views = "".join(p.read_text() for p in (ios_project / "PhantomAR/App/Sources").glob("*.swift"))
    tests = "".join(p.read_text() for p in (ios_project / "PhantomAR/AppUITests").glob("*.swift"))
    asked = set(re.findall(r'app\.(?:buttons|textFields)\["([^"]+)"\]', tests))
    assert len(asked) >= 4
    for identifier in asked:
        assert re.sub(r"-\d$", "-", identifier) in views, identifier
