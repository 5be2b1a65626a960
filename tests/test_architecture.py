"""Imports flow one way, and the runtime and the command line stay light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

import bertedge

PACKAGE = Path(bertedge.__file__).parent
#: From the ground up. A module imports from its own layer or from one below.
LAYERS = (
    ("printable", "bounds"),
    ("errors", "progress", "scratch", "__init__"),
    ("files",),
    ("hub_client",),
    ("keys", "records", "archives", "array_spec", "arrays", "plotting"),
    ("cpu", "weight_range"),
    ("encoders", "target", "recipe", "vector_modules", "pooling", "similarity"),
    ("layers", "plan"),
    ("wordpiece", "encoding", "template", "texts", "added_tokens", "tokenizer_json"),
    ("tokenizer_pipelines", "tokenizer_changes"),
    ("tokenizer_classes",),
    ("tokenizer_folder",),
    ("tokenizer",),
    ("example", "predictor", "metric", "probabilities", "windows"),
    ("heads",),
    ("manifest",),
    ("data",),
    ("checkpoint", "bundle", "bundle_folder"),
    ("engines", "graph"),
    ("train", "runtime"),
    ("quantization", "evaluate"),
    ("report",),
    ("benchmark", "emulate", "tuning"),
    ("hub", "jobs", "serve"),
    ("cli", "__main__"),
)
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
SIBLINGS_APART = ({"train", "graph", "runtime"}, {"train", "graph", "engines"})
#: A teacher of another family is the one model that training runs on an engine.
ACROSS = "bertedge.train.graph_teacher"

MOST_LINES_OF_A_MODULE, MOST_LINES_OF_A_FUNCTION = 300, 60


def dotted(path: Path) -> str:
    """The name that a file of the package is imported by."""
    return ".".join(("bertedge", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")


SOURCES = {dotted(path): path.read_text(encoding="utf-8") for path in sorted(PACKAGE.rglob("*.py"))}
TREES = {name: ast.parse(source) for name, source in SOURCES.items()}


def part_of(name: str) -> str:
    """The part of the package that a module belongs to."""
    return [*name.split("."), "__init__"][1]


def imported(tree: ast.Module) -> set[str]:
    """Everything that a file imports, anywhere in it: modules, and names from modules with their module."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def importers(library: str) -> set[str]:
    """The modules that import a library."""
    return {name for name, tree in TREES.items() if library in {other.split(".")[0] for other in imported(tree)}}


def imported_modules(name: str) -> set[str]:
    """The modules of the package that a module needs: those that it names, and the packages that these lie in.

    Its own packages are left out: they are loaded before it.
    """
    found = imported(TREES[name]) & TREES.keys() - {"bertedge"}
    parents = {package for other in found for package in packages(other)}
    return (found | parents) - packages(name) - {name}


def packages(name: str) -> set[str]:
    """The packages that a module lies in, below ``bertedge``."""
    parts = name.split(".")
    return {".".join(parts[:size]) for size in range(2, len(parts))}


def cycle(edges: Mapping[str, set[str]]) -> list[str]:
    """Modules that import each other in a ring, one after the other; empty where there are none."""
    open_now: list[str] = []
    done: set[str] = set()

    def visit(name: str) -> list[str]:
        if name in open_now:
            return [*open_now[open_now.index(name) :], name]
        if name in done:
            return []
        open_now.append(name)
        ring = next(filter(None, map(visit, sorted(edges[name]))), [])
        open_now.pop()
        done.add(name)
        return ring

    return next(filter(None, map(visit, sorted(edges))), [])


def test_imports_point_down() -> None:
    pairs = sorted(
        (name, other)
        for name in TREES
        if name != "bertedge"  # its public names are imported at first use
        for other in imported(TREES[name]) & TREES.keys()
        if part_of(name) != part_of(other)
    )
    up = [pair for pair in pairs if RANK[part_of(pair[1])] > RANK[part_of(pair[0])]]
    apart = [pair for pair in pairs if any(set(map(part_of, pair)) <= group for group in SIBLINGS_APART)]
    across = [pair for pair in apart if pair[0] != ACROSS]
    assert (up, across) == ([], [])


def test_no_modules_import_each_other() -> None:
    assert cycle({name: imported_modules(name) for name in TREES if name != "bertedge"}) == []


def test_a_cycle_is_found() -> None:
    assert cycle({"a": {"b"}, "b": {"c", "d"}, "c": set(), "d": {"b"}}) == ["b", "d", "b"]


def test_torch_lives_in_one_folder() -> None:
    assert {part_of(name) for name in importers("torch")} == {"train"}


def test_onnxruntime_lives_in_the_engines() -> None:
    assert {part_of(name) for name in importers("onnxruntime")} == {"engines"}


def test_pictures_are_drawn_by_way_of_plotting() -> None:
    assert importers("matplotlib") == {"bertedge.plotting"}


def test_modules_are_short() -> None:
    lengths = {name: len(source.splitlines()) for name, source in SOURCES.items()}
    assert {name: length for name, length in lengths.items() if length > MOST_LINES_OF_A_MODULE} == {}


def test_functions_are_short() -> None:
    lengths = {
        f"{name}.{node.name}": (node.end_lineno or 0) - node.lineno + 1
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    }
    assert {name: length for name, length in lengths.items() if length > MOST_LINES_OF_A_FUNCTION} == {}


def test_no_two_files_have_one_name() -> None:
    names = Counter(path.name for path in PACKAGE.rglob("*.py"))
    assert [name for name, count in names.items() if count > 1] == ["__init__.py"]


@pytest.mark.parametrize(
    "statement",
    [
        "import bertedge",
        "from bertedge import load, Bundle",
        "from bertedge.cli.app import app",
        "import bertedge.runtime.golden",
        "import bertedge.encoders, bertedge.layers, bertedge.heads, bertedge.engines",
        "import bertedge.emulate.emulated_job, bertedge.emulate.findings, bertedge.emulate.setup",
    ],
)
def test_light_imports(statement: str) -> None:
    heavy = "{'torch', 'onnx', 'transformers', 'safetensors', 'huggingface_hub', 'fastapi', 'pyarrow', 'ray'}"
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
