"""Imports flow one way, and the runtime and the command line stay light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import bertedge

PACKAGE = Path(bertedge.__file__).parent
#: From the ground up. A module imports from its own layer or from one below.
LAYERS = (
    ("printable", "bounds"),
    ("errors", "progress", "scratch", "__init__"),
    ("files",),
    ("records", "archives", "arrays", "plotting"),
    ("cpu", "weight_range"),
    ("config", "target", "recipe", "embedding"),
    ("manifest",),
    ("wordpiece", "encoding", "texts", "tokenizer_classes", "added_tokens", "tokenizer_json"),
    ("tokenizer_folder",),
    ("tokenizer",),
    ("predictor",),
    ("data",),
    ("checkpoint", "bundle"),
    ("engines", "graph"),
    ("train", "runtime"),
    ("quantization", "evaluate"),
    ("report",),
    ("benchmark", "emulate", "tuning"),
    ("cli", "__main__"),
)
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
SIBLINGS_APART = ({"train", "graph", "runtime"}, {"train", "graph", "engines"})


def part_of(module: Path) -> str:
    """The part of the package that a file belongs to."""
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_parts(module: Path) -> set[str]:
    """The parts of the package that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("bertedge."):
            found.add((node.module or "").split(".")[1])
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("bertedge.")}
    return found


MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(module: Path) -> None:
    part = part_of(module)
    for other in imported_parts(module):
        assert RANK[other] <= RANK[part], f"{module} imports bertedge.{other}"
        if part != other:
            apart = any({part, other} <= group for group in SIBLINGS_APART)
            assert not apart, f"{module} imports its sibling bertedge.{other}"


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_torch_lives_in_one_folder(module: Path) -> None:
    names = {
        alias.name.split(".")[0]
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    assert "torch" not in names or part_of(module) == "train"


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_pictures_are_drawn_by_way_of_plotting(module: Path) -> None:
    lines = module.read_text(encoding="utf-8").splitlines()
    found = [line.strip() for line in lines if line.lstrip().startswith(("import matplotlib", "from matplotlib"))]
    assert not found or module.name == "plotting.py"


@pytest.mark.parametrize(
    "statement",
    [
        "import bertedge",
        "from bertedge import load, Bundle",
        "from bertedge.cli.app import app",
        "import bertedge.runtime.golden",
        "import bertedge.emulate.guest, bertedge.emulate.elsewhere, bertedge.emulate.setup",
    ],
)
def test_light_imports(statement: str) -> None:
    heavy = "{'torch', 'onnx', 'transformers', 'safetensors', 'huggingface_hub'}"
    code = f"{statement}\nimport sys\nprint(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_is_light() -> None:
    code = (
        "import sys\nsys.argv = ['bertedge', '--help']\nfrom bertedge.__main__ import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print('LOADED', sorted({'torch', 'onnx', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("LOADED []")


def test_public_names_are_there() -> None:
    for name in bertedge.__all__:
        assert getattr(bertedge, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = bertedge.no_such_name
