"""The public API is light to import, complete and typed; its functions stand beside packages of one name."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import phantom_edge as pe

ROOT = Path(__file__).parents[1]
WITHOUT_EXAMPLE = {
    *("__version__", "ExportResult", "QuantizeResult", "SweepResult"),
    *("PhantomEdgeError", "InputError", "CheckError"),
}
SNIPPET = """
from pathlib import Path

import phantom_edge as pe
import phantom_edge.export.onnx  # its package has the function's name

result = pe.export(pe.ExportRequest(target="desktop", output=Path("nano")))
ok: bool = result.report is not None and result.report.ok
pieces: list[str] = list(pe.Session.open("nano").chat("photo.jpg").ask("?", sampling=pe.Sampling(seed=1)))
context: int = pe.targets()["ios"].context
pe.quantize(pe.QuantizeRequest(options=pe.QuantizeOptions(quant=4)))
"""


def python(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=300, **options
    )


def test_importing_is_light():
    code = "import sys, phantom_edge as pe; dir(pe); print(*{name.split('.')[0] for name in sys.modules})"
    modules = set(python("-c", code).stdout.split())
    assert "phantom_edge" in modules
    assert not modules & {
        "torch",
        "numpy",
        "PIL",
        "onnx",
        "onnxruntime",
        "coremltools",
        "executorch",
        "typer",
    }


@pytest.mark.parametrize("name", pe.__all__)
def test_every_name_is_there_and_has_an_example(name):
    assert name in dir(pe)
    assert name in WITHOUT_EXAMPLE or ">>> " in getattr(pe, name).__doc__


def test_the_checker_and_python_read_the_same_names():
    tree = ast.parse((ROOT / "phantom_edge" / "__init__.py").read_text(encoding="utf-8"))
    block = next(n for n in tree.body if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING")
    typed = {
        alias.asname or alias.name: (node.module, alias.name)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert pe.__all__ == sorted([*typed, "__version__"])
    for public, (module, name) in typed.items():
        assert getattr(pe, public) is getattr(sys.modules[module], name)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'phantom_edge' has no attribute 'exports'"):
        pe.exports  # noqa: B018


NAMESAKES = """
from importlib import import_module
import phantom_edge as pe
names = ("bench", "export", "quantize", "sweep", "targets", "tune")
"""


@pytest.mark.parametrize("first", ["functions", "packages"])
def test_a_function_stays_one_beside_its_namesake(first):
    functions = "functions = [getattr(pe, name) for name in names]"
    packages = "packages = [import_module(f'phantom_edge.{name}') for name in names]"
    lines = [functions, packages] if first == "functions" else [packages, functions]
    check = "assert all(callable(f) and f is getattr(pe, f.__name__) for f in functions)"
    done = python(
        "-c", "\n".join([NAMESAKES, *lines, check, "from phantom_edge import export; export.__code__"])
    )
    assert done.stderr == ""


@pytest.mark.slow
def test_types_reach_a_user(tmp_path):
    """mypy sees what each name is, finds the one mistake, and no other."""
    pytest.importorskip("mypy")
    path = tmp_path / "snippet.py"
    path.write_text(SNIPPET)
    options = ["--strict", "--follow-imports=silent", "--no-error-summary", f"--cache-dir={tmp_path}"]
    done = python("-m", "mypy", *options, str(path), cwd=ROOT, env={"MYPYPATH": str(ROOT), "PATH": ""})
    assert done.stdout.count("error") == 1, done.stdout
    assert 'Argument "quant" to "QuantizeOptions" has incompatible type "int"' in done.stdout
