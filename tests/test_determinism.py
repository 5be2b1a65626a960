"""The order of a set changes with ``PYTHONHASHSEED``, so it must reach no output."""

from __future__ import annotations

import ast
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import bertedge
from bertedge.evaluate.profile import OperatorTime, Profile
from bertedge.report.schema import write_report
from tests.report.samples import model, report_of

PACKAGE = Path(bertedge.__file__).parent
SEEDS = ("0", "3")
#: What does not depend on the order of what it is given.
ORDERLESS = frozenset({"sorted", "set", "frozenset", "len", "any", "all", "min", "max"})
#: What hands the order on.
ORDERED = frozenset({"list", "tuple", "sum", "enumerate", "fromkeys", "join", "zip", "map", "array", "asarray"})
SET_OPERATORS = (ast.Sub, ast.BitAnd, ast.BitOr, ast.BitXor)

WRITE_EVERYTHING = """
import sys
from pathlib import Path
from rich.console import Console
from bertedge.report.html import html_report
from bertedge.report.junit import junit_report
from bertedge.report.render import markdown_report, rich_report
from bertedge.report.schema import read_report
from tests.report.samples import verdict

report, folder = read_report(Path(sys.argv[1])), Path(sys.argv[2])
verdicts = [verdict(outcome) for outcome in ("pass", "fail", "skipped")]
(folder / "report.html").write_text(html_report(report, verdicts), encoding="utf-8")
(folder / "report.md").write_text(markdown_report(report, verdicts), encoding="utf-8")
(folder / "report.xml").write_text(junit_report(report, verdicts), encoding="utf-8")
with open(folder / "report.txt", "w", encoding="utf-8") as file:
    Console(file=file, width=80).print(rich_report(report, verdicts, width=80))
"""
WRITE_BUNDLE = """
import sys
import bertedge
from bertedge.recipe import recipe_named

recipe = recipe_named("default").changed(examples=4, float16=("*.output", "pooler"), finer=("*.qkv",))
bertedge.quantize(sys.argv[1], sys.argv[2], recipe=recipe, calibration=sys.argv[3], target="portable")
"""


def run(seed: str, code: str, *arguments: str | Path, **environment: str) -> str:
    """Run code in a process of its own; what it prints, also to stderr."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1", **environment},
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def rest_of(seed: int) -> list[float]:
    """Thirty numbers whose sum lies between two that are shown, so that its last digit depends on their order."""
    rng = random.Random(seed)
    numbers = [rng.randrange(1, 4000) for _ in range(29)]
    numbers.append(10 * (sum(numbers) // 10) + 1005 - sum(numbers))
    return [number / 10_000 for number in numbers]


def profile_of(rest: list[float]) -> Profile:
    """One row that is shown, and others too small for the page, which are added up."""
    small = [OperatorTime(part="mlm", op_type=f"Operator{i}", nodes=1, ms=ms) for i, ms in enumerate(rest)]
    large = OperatorTime(part="encoder.layer.0", op_type="MatMul", nodes=1, ms=2000.0)
    return Profile(batch_size=1, seq_len=16, threads=1, calls=9, operators=(large, *small))


def test_a_report_is_written_alike_under_any_hash_seed(tmp_path: Path) -> None:
    candidates = [replace(model(f"small-{i}"), profile=profile_of(rest_of(i))) for i in range(3)]
    path = tmp_path / "report.json"
    write_report(path, report_of(*candidates))
    written = []
    for seed in SEEDS:
        folder = tmp_path / seed
        folder.mkdir()
        run(seed, WRITE_EVERYTHING, path, folder)
        written.append(files_of(folder))
    assert len(written[0]) == 4
    assert written[0] == written[1]


def test_a_page_does_not_depend_on_the_users_matplotlib(tmp_path: Path) -> None:
    path, rc = tmp_path / "report.json", tmp_path / "matplotlibrc"
    write_report(path, report_of(model("small $x$")))
    rc.write_text("backend: nope\nlines.linewidth: 9\nsvg.fonttype: path\n")
    jupyter = {"MPLBACKEND": "module://matplotlib_inline.backend_inline", "MATPLOTLIBRC": str(rc)}
    written = []
    for place, setup in enumerate(({}, {**jupyter, "HOME": "/dev/null", "MPLCONFIGDIR": "/dev/null/x"})):
        folder = tmp_path / str(place)
        folder.mkdir()
        assert run("0", WRITE_EVERYTHING, path, folder, **setup) == ""
        written.append(files_of(folder))
    assert written[0] == written[1]


def test_a_bundle_is_written_alike_under_any_hash_seed(model_folder: Path, corpus_file: Path, tmp_path: Path) -> None:
    for seed in SEEDS:
        run(seed, WRITE_BUNDLE, model_folder, tmp_path / seed, corpus_file)
    first, second = (files_of(tmp_path / seed) for seed in SEEDS)
    assert {"manifest.json", "model.onnx"} <= first.keys()
    assert first == second


def is_set(node: ast.expr, names: set[str]) -> bool:
    """Whether an expression is a set, as far as its own text and the annotations around it tell."""
    if isinstance(node, ast.Set | ast.SetComp):
        return True
    if isinstance(node, ast.Name):
        return node.id in names
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id in ("set", "frozenset")
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return node.func.attr in ("union", "intersection", "difference", "symmetric_difference")
    if isinstance(node, ast.BinOp) and isinstance(node.op, SET_OPERATORS):
        return any(is_set(side, names) or is_keys(side) for side in (node.left, node.right))
    return False


def is_keys(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "keys"


def set_names(tree: ast.AST) -> set[str]:
    """Names that are annotated, or assigned once, as a set."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation is not None:
            target = node.arg if isinstance(node, ast.arg) else ast.unparse(node.target)
            if ast.unparse(node.annotation).startswith(("set[", "frozenset[")):
                names.add(target)
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and is_set(node.value, set()):
            names.add(ast.unparse(node.targets[0]))
    return names


def iterated(tree: ast.AST) -> Iterator[ast.expr]:
    """Everything whose order is used."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    harmless = {
        id(inner)
        for call in calls
        if getattr(call.func, "id", None) in ORDERLESS
        for argument in call.args
        for inner in ast.walk(argument)
    }
    for node in ast.walk(tree):
        if id(node) in harmless:
            continue
        if isinstance(node, ast.For):
            yield node.iter
        if isinstance(node, ast.ListComp | ast.DictComp):
            yield from (generator.iter for generator in node.generators)
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", None) or getattr(node.func, "attr", None)
            for argument in () if name in ORDERLESS else node.args:
                if name in ORDERED:
                    yield argument
                if isinstance(argument, ast.GeneratorExp):
                    yield from (generator.iter for generator in argument.generators)


def sets_in_order(tree: ast.Module) -> list[str]:
    """``line: expression`` of every set whose order is used, function by function."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    found = {
        f"{expression.lineno}: {ast.unparse(expression)}"
        for scope in (tree, *functions)
        for expression in iterated(scope)
        if is_set(expression, set_names(scope) if scope is not tree else set())
    }
    return sorted(found)


@pytest.mark.parametrize(
    "line",
    [
        "for x in {1, 2}: print(x)",
        "[x for x in a.keys() - b]",
        "'-'.join(set(names))",
        "sum(x for x in a | set(b))",
        "def f(names: set[str]):\n    return dict.fromkeys(names)",
        "def f(a):\n    names = set(a)\n    return list(names)",
    ],
)
def test_the_order_of_a_set_is_noticed(line: str) -> None:
    assert sets_in_order(ast.parse(line))


@pytest.mark.parametrize(
    "line", ["for x in sorted({1, 2}): pass", "{x for x in a.keys() - b}", "any(x for x in set(a))", "len(a - set(b))"]
)
def test_what_has_no_order_is_left_alone(line: str) -> None:
    assert not sets_in_order(ast.parse(line))


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_order_of_a_set_is_used(path: Path) -> None:
    assert not sets_in_order(ast.parse(path.read_text(encoding="utf-8")))
