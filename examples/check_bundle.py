"""Read a bundle's manifest and run its recorded inputs: what an app does on the device it runs on.

python examples/check_bundle.py nano-desktop
"""

from __future__ import annotations

import argparse

import phantom_edge as pe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle")
    arguments = parser.parse_args()

    bundle = pe.Bundle.open(arguments.bundle)  # every file's size and SHA-256 is compared
    manifest = bundle.manifest
    print(f"{manifest.source.name} for {manifest.target}, {manifest.recipe.name}")
    print(f"{manifest.config.decoder.layers} layers, context {manifest.context}, fold {manifest.fold.fold}")
    print(f"vision encoder {manifest.graphs.vision_encoder}, decoder {manifest.graphs.text_decoder}")

    checks = pe.self_test(pe.Session.of_bundle(bundle), pe.Golden.read(bundle.folder))
    for check in checks:
        print(f"{check.name}: {check.value:.2g} (limit {check.limit})")
    if not all(check.passed for check in checks):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
