"""The list of what a board needs: everything that the commands load, and what the package says it depends on."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from bertedge.bundle import Bundle
from bertedge.engines import ENGINES
from tests.conftest import skip_where_unfit

ROOT = Path(__file__).parents[1]
LIST = ROOT / "benchmarks" / "board-requirements.txt"
RUNTIME = {"numpy", "onnxruntime", "tokenizers"}
REPORT = "import sys; print('LOADED', *sorted({name.split('.')[0] for name in sys.modules}))"


def plain(name: str) -> str:
    """A distribution's name as all spell it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def listed() -> dict[str, str]:
    lines = [line for line in LIST.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    return {plain(name): version for name, _, version in (line.partition("==") for line in lines)}


def loaded(code: str) -> set[str]:
    """Installed distributions that a piece of Python loads, beyond what the interpreter loads at its start."""
    origins = packages_distributions()

    def modules(code: str) -> set[str]:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        return set(done.stdout.splitlines()[-1].split()[1:])

    new = modules(code) - modules(REPORT) - {"bertedge"}
    return {plain(name) for module in new for name in origins.get(module, [])}


def test_it_is_a_list_of_exact_versions() -> None:
    assert all(re.fullmatch(r"\d+(\.\d+)+", version) for version in listed().values())


def test_it_holds_what_the_package_depends_on() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {plain(re.split(r"[<>=]", name)[0]) for name in project["dependencies"]} <= listed().keys()


@pytest.mark.parametrize(("engine", "packages"), [("onnxruntime", RUNTIME), ("native", RUNTIME - {"onnxruntime"})])
def test_the_runtime_loads_three_packages_at_most(
    engine: str, packages: set[str], bundle_of: Callable[..., Bundle]
) -> None:
    bundle = bundle_of("static")
    skip_where_unfit(ENGINES[engine], bundle)
    use = f"bertedge.load({str(bundle.folder)!r}, engine={engine!r}).fill_mask('a [MASK]')"
    assert loaded(f"import bertedge; {use}; {REPORT}") == packages


@pytest.mark.parametrize("arguments", [("verify",), ("fill-mask", "a [MASK]"), ("next-sentence", "a", "b"), ("info",)])
def test_the_commands_load_nothing_else(arguments: tuple[str, ...], bundle_of: Callable[..., Bundle]) -> None:
    command, *rest = arguments
    code = f"from bertedge.cli.app import run; run({[command, str(bundle_of('static').folder), *rest]}); {REPORT}"
    assert loaded(code) <= listed().keys()
