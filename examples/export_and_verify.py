"""Export a checkpoint and print what was checked.

python examples/export_and_verify.py --target desktop --output nano-desktop
"""

from __future__ import annotations

import argparse
from pathlib import Path

import phantom_edge as pe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="folder or Hugging Face id; default: the embedded Phantom-Nano")
    parser.add_argument("--target", default="desktop", choices=list(pe.targets()))
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()

    # The bundle appears only when every check has passed; CheckError names those that failed.
    request = pe.ExportRequest(target=arguments.target, model=arguments.model, output=arguments.output)
    result = pe.export(request, step=lambda text: print(f"  {text}"))
    assert result.report is not None
    for question, checks in result.report.groups.items():
        print(question)
        for check in checks:
            print(f"  {check.name}: {check.value} (limit {check.limit})")

    # The same checks later, on another machine or by someone else.
    report = pe.verify(pe.Bundle.open(arguments.output), tokens=16)
    print(f"verified again: {'right' if report.ok else 'wrong'}")


if __name__ == "__main__":
    main()
