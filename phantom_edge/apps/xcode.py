"""An Xcode project as a text: the objects of one app with unit and UI tests, whose folders Xcode reads by
itself.

Object version 77 (Xcode 16): a synchronised folder stands for all files in it, so the project names folders,
packages and resources, and no source. The format is the old property list of strings, arrays and
dictionaries.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any, Final

APP: Final = "PhantomAR"
"""Folder of the app's sources, and the module's name, whatever the app is called."""
_PLAIN: Final = re.compile(r"[A-Za-z0-9_./]+")
Object = dict[str, Any]


@dataclass(frozen=True)
class XcodeApp:
    """What the project of an app is made from; ``team`` may be empty: Xcode then asks for it."""

    name: str
    title: str
    bundle_id: str
    team: str

    def pbxproj(self) -> str:
        """The text of ``project.pbxproj``."""
        objects = _Objects()
        project = _project(objects, self)
        root = {"archiveVersion": "1", "classes": {}, "objectVersion": "77"}
        return "// !$*UTF8*$!\n" + _text({**root, "objects": objects.all, "rootObject": project}, 0) + "\n"

    def scheme(self) -> str:
        """The text of the shared scheme: run, test with both test bundles, archive."""
        app = _reference(f"target {self.name}", f"{self.name}.app", self.name, self.name)
        tests = [_reference(f"target {n}", f"{n}.xctest", n, self.name) for n in _tests(self.name)]
        testables = "\n".join(
            f'      <TestableReference skipped="NO">\n{t}\n      </TestableReference>' for t in tests
        )
        return _SCHEME.format(app=app, testables=testables)


def _tests(name: str) -> tuple[str, str]:
    return f"{name}Tests", f"{name}UITests"


class _Objects:
    """Objects by an identifier that follows from their name: the same project is the same text."""

    def __init__(self) -> None:
        self.all: dict[str, Object] = {}

    def add(self, name: str, isa: str, /, **fields: Any) -> str:
        identifier = _identifier(name)
        self.all[identifier] = {"isa": isa, **fields}
        return identifier


def _identifier(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:24].upper()


def _project(objects: _Objects, app: XcodeApp) -> str:
    packages = {name: _package(objects, name, path) for name, path in _PACKAGES.items()}
    resources = [_file(objects, path, kind) for path, kind in _RESOURCES.items()]
    readme = _file(objects, "README.md", "net.daringfireball.markdown")
    names = (app.name, *_tests(app.name))
    folders = [_folder(objects, folder, app.name) for folder in ("App", "AppTests", "AppUITests")]
    products = [_product(objects, app.name, "app", "wrapper.application")]
    products += [_product(objects, name, "xctest", "wrapper.cfbundle") for name in names[1:]]
    target = _app_target(objects, app, folders[0], products[0], packages, resources)
    targets = [target]
    for name, folder, product in zip(names[1:], folders[1:], products[1:], strict=True):
        targets.append(_test_target(objects, app, name, folder, product, target))
    shown = objects.add(
        "group products", "PBXGroup", children=products, name="Products", sourceTree="<group>"
    )
    own = objects.add("group app", "PBXGroup", children=folders, path=APP, sourceTree="<group>")
    children = [readme, own, *resources, shown]
    main = objects.add("group main", "PBXGroup", children=children, sourceTree="<group>")
    attributes = {"BuildIndependentTargetsInParallel": "1", "LastUpgradeCheck": "1620"}
    attributes["TargetAttributes"] = {t: {"TestTargetID": target} for t in targets[1:]}
    return objects.add(
        "project",
        "PBXProject",
        attributes=attributes,
        buildConfigurationList=_configurations(objects, "project", _PROJECT, debug=_DEBUG, release=_RELEASE),
        developmentRegion="en",
        hasScannedForEncodings="0",
        knownRegions=["en", "Base"],
        mainGroup=main,
        minimizedProjectReferenceProxies="1",
        packageReferences=list(packages.values()),
        preferredProjectObjectVersion="77",
        productRefGroup=shown,
        projectDirPath="",
        projectRoot="",
        targets=targets,
    )


def _package(objects: _Objects, name: str, path: str) -> str:
    return objects.add(f"package {name}", "XCLocalSwiftPackageReference", relativePath=path)


def _file(objects: _Objects, path: str, kind: str) -> str:
    return objects.add(
        f"file {path}", "PBXFileReference", lastKnownFileType=kind, path=path, sourceTree="<group>"
    )


def _product(objects: _Objects, name: str, suffix: str, kind: str) -> str:
    fields = {"explicitFileType": kind, "includeInIndex": "0", "path": f"{name}.{suffix}"}
    return objects.add(f"product {name}", "PBXFileReference", **fields, sourceTree="BUILT_PRODUCTS_DIR")


def _folder(objects: _Objects, folder: str, name: str) -> str:
    fields: Object = {"path": folder, "sourceTree": "<group>"}
    if folder == "App":  # the file is the target's own, not a resource of it
        exceptions = objects.add(
            "exceptions",
            "PBXFileSystemSynchronizedBuildFileExceptionSet",
            membershipExceptions=["Info.plist"],
            target=_identifier(f"target {name}"),
        )
        fields["exceptions"] = [exceptions]
    return objects.add(f"folder {folder}", "PBXFileSystemSynchronizedRootGroup", **fields)


def _app_target(
    objects: _Objects,
    app: XcodeApp,
    folder: str,
    product: str,
    packages: dict[str, str],
    resources: list[str],
) -> str:
    links, linked = [], []
    for package in packages:
        needed = objects.add(f"needed {package}", "XCSwiftPackageProductDependency", productName=package)
        links.append(needed)
        linked.append(objects.add(f"link {package}", "PBXBuildFile", productRef=needed))
    copied = [
        objects.add(f"copy {path}", "PBXBuildFile", fileRef=_identifier(f"file {path}"))
        for path in _RESOURCES
    ]
    settings = {
        **_APP,
        "DEVELOPMENT_TEAM": app.team,
        "INFOPLIST_KEY_CFBundleDisplayName": app.title,
        "PRODUCT_BUNDLE_IDENTIFIER": app.bundle_id,
        "PRODUCT_MODULE_NAME": APP,
        "PRODUCT_NAME": app.name,
    }
    return objects.add(
        f"target {app.name}",
        "PBXNativeTarget",
        buildConfigurationList=_configurations(objects, app.name, settings),
        buildPhases=_phases(objects, app.name, frameworks=linked, resources=copied),
        buildRules=[],
        dependencies=[],
        fileSystemSynchronizedGroups=[folder],
        name=app.name,
        packageProductDependencies=links,
        productName=app.name,
        productReference=product,
        productType="com.apple.product-type.application",
    )


def _test_target(objects: _Objects, app: XcodeApp, name: str, folder: str, product: str, target: str) -> str:
    is_ui = name.endswith("UITests")
    settings = {
        **_TESTS,
        "DEVELOPMENT_TEAM": app.team,
        "PRODUCT_BUNDLE_IDENTIFIER": f"{app.bundle_id}.{name}",
    }
    if is_ui:
        settings["TEST_TARGET_NAME"] = app.name
    else:
        host = f"$(BUILT_PRODUCTS_DIR)/{app.name}.app/$(BUNDLE_EXECUTABLE_FOLDER_PATH)/{app.name}"
        settings |= {"BUNDLE_LOADER": "$(TEST_HOST)", "TEST_HOST": host}
    proxy = objects.add(
        f"proxy {name}",
        "PBXContainerItemProxy",
        containerPortal=_identifier("project"),
        proxyType="1",
        remoteGlobalIDString=target,
        remoteInfo=app.name,
    )
    needs = objects.add(f"needs {name}", "PBXTargetDependency", target=target, targetProxy=proxy)
    return objects.add(
        f"target {name}",
        "PBXNativeTarget",
        buildConfigurationList=_configurations(objects, name, settings),
        buildPhases=_phases(objects, name, frameworks=[], resources=[]),
        buildRules=[],
        dependencies=[needs],
        fileSystemSynchronizedGroups=[folder],
        name=name,
        packageProductDependencies=[],
        productName=name,
        productReference=product,
        productType=f"com.apple.product-type.bundle.{'ui-testing' if is_ui else 'unit-test'}",
    )


def _phases(objects: _Objects, name: str, *, frameworks: list[str], resources: list[str]) -> list[str]:
    files = {"Sources": [], "Frameworks": frameworks, "Resources": resources}
    return [
        objects.add(
            f"phase {name} {kind}",
            f"PBX{kind}BuildPhase",
            buildActionMask="2147483647",
            files=found,
            runOnlyForDeploymentPostprocessing="0",
        )
        for kind, found in files.items()
    ]


def _configurations(
    objects: _Objects,
    name: str,
    settings: Object,
    *,
    debug: Object | None = None,
    release: Object | None = None,
) -> str:
    kinds = {"Debug": debug or {}, "Release": release or {}}
    made = [
        objects.add(
            f"configuration {name} {kind}",
            "XCBuildConfiguration",
            buildSettings={**settings, **own},
            name=kind,
        )
        for kind, own in kinds.items()
    ]
    return objects.add(
        f"configurations {name}",
        "XCConfigurationList",
        buildConfigurations=made,
        defaultConfigurationIsVisible="0",
        defaultConfigurationName="Release",
    )


def _text(value: Any, depth: int) -> str:
    tab, inner = "\t" * depth, "\t" * (depth + 1)
    if isinstance(value, dict):
        rows = [f"{inner}{_quoted(key)} = {_text(item, depth + 1)};\n" for key, item in value.items()]
        return "{\n" + "".join(rows) + tab + "}"
    if isinstance(value, list):
        return "(\n" + "".join(f"{inner}{_text(item, depth + 1)},\n" for item in value) + tab + ")"
    return _quoted(value)


def _quoted(text: str) -> str:
    if _PLAIN.fullmatch(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


_PACKAGES: Final = {"PhantomEdge": "PhantomEdge", "PhantomARCore": f"{APP}/Core"}
_RESOURCES: Final = {"bundle": "folder", "app.json": "text.json", "THIRD_PARTY_NOTICES.txt": "text"}
_PROJECT: Final = {
    "ALWAYS_SEARCH_USER_PATHS": "NO",
    "CLANG_ENABLE_MODULES": "YES",
    "CLANG_ENABLE_OBJC_ARC": "YES",
    "COPY_PHASE_STRIP": "NO",
    "ENABLE_USER_SCRIPT_SANDBOXING": "YES",
    "IPHONEOS_DEPLOYMENT_TARGET": "18.0",
    "LOCALIZATION_PREFERS_STRING_CATALOGS": "YES",
    "SDKROOT": "iphoneos",
    "SWIFT_VERSION": "5.0",
}
_DEBUG: Final = {
    "DEBUG_INFORMATION_FORMAT": "dwarf",
    "ENABLE_TESTABILITY": "YES",
    "GCC_OPTIMIZATION_LEVEL": "0",
    "ONLY_ACTIVE_ARCH": "YES",
    "SWIFT_ACTIVE_COMPILATION_CONDITIONS": "DEBUG $(inherited)",
    "SWIFT_OPTIMIZATION_LEVEL": "-Onone",
}
_RELEASE: Final = {
    "DEBUG_INFORMATION_FORMAT": "dwarf-with-dsym",
    "SWIFT_COMPILATION_MODE": "wholemodule",
    "VALIDATE_PRODUCT": "YES",
}
_COMMON: Final = {
    "CODE_SIGN_STYLE": "Automatic",
    "CURRENT_PROJECT_VERSION": "1",
    "GENERATE_INFOPLIST_FILE": "YES",
    "MARKETING_VERSION": "1.0",
    "TARGETED_DEVICE_FAMILY": "1,2",
}
_APP: Final = {
    **_COMMON,
    "ASSETCATALOG_COMPILER_APPICON_NAME": "AppIcon",
    "ASSETCATALOG_COMPILER_GLOBAL_ACCENT_COLOR_NAME": "AccentColor",
    "CODE_SIGN_ENTITLEMENTS": f"{APP}/App/{APP}.entitlements",
    "INFOPLIST_FILE": f"{APP}/App/Info.plist",
    "LD_RUNPATH_SEARCH_PATHS": ["$(inherited)", "@executable_path/Frameworks"],
    "SUPPORTED_PLATFORMS": "iphoneos iphonesimulator",
    "SUPPORTS_MACCATALYST": "NO",
}
_TESTS: Final = {**_COMMON, "PRODUCT_NAME": "$(TARGET_NAME)"}


def _reference(object_name: str, product: str, blueprint: str, project: str) -> str:
    return (
        '          <BuildableReference BuildableIdentifier="primary"'
        f' BlueprintIdentifier="{_identifier(object_name)}" BuildableName="{product}"'
        f' BlueprintName="{blueprint}" '
        f'ReferencedContainer="container:{project}.xcodeproj"></BuildableReference>'
    )


_SCHEME: Final = """<?xml version="1.0" encoding="UTF-8"?>
<Scheme LastUpgradeVersion="1620" version="1.7">
  <BuildAction parallelizeBuildables="YES" buildImplicitDependencies="YES">
    <BuildActionEntries>
      <BuildActionEntry buildForTesting="YES" buildForRunning="YES" buildForProfiling="YES" buildForArchiving="YES" \
buildForAnalyzing="YES">
{app}
      </BuildActionEntry>
    </BuildActionEntries>
  </BuildAction>
  <TestAction buildConfiguration="Debug" selectedDebuggerIdentifier="Xcode.DebuggerFoundation.Debugger.LLDB" \
selectedLauncherIdentifier="Xcode.DebuggerFoundation.Launcher.LLDB" shouldUseLaunchSchemeArgsEnv="YES">
    <Testables>
{testables}
    </Testables>
  </TestAction>
  <LaunchAction buildConfiguration="Release" selectedDebuggerIdentifier="Xcode.DebuggerFoundation.Debugger.LLDB" \
selectedLauncherIdentifier="Xcode.DebuggerFoundation.Launcher.LLDB" launchStyle="0" useCustomWorkingDirectory="NO" \
ignoresPersistentStateOnLaunch="NO" debugDocumentVersioning="YES" allowLocationSimulation="YES">
    <BuildableProductRunnable runnableDebuggingMode="0">
{app}
    </BuildableProductRunnable>
    <CommandLineArguments>
      <CommandLineArgument argument="-engine fake" isEnabled="NO"></CommandLineArgument>
    </CommandLineArguments>
  </LaunchAction>
  <ProfileAction buildConfiguration="Release" shouldUseLaunchSchemeArgsEnv="YES" savedToolIdentifier="" \
useCustomWorkingDirectory="NO" debugDocumentVersioning="YES">
    <BuildableProductRunnable runnableDebuggingMode="0">
{app}
    </BuildableProductRunnable>
  </ProfileAction>
  <AnalyzeAction buildConfiguration="Debug"></AnalyzeAction>
  <ArchiveAction buildConfiguration="Release" revealArchiveInOrganizer="YES"></ArchiveAction>
</Scheme>
"""
