"""A board that has numpy, tokenizers and the native engine, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from bertedge.bundle import Bundle
from bertedge.engines import ENGINES
from tests.conftest import FLOAT, skip_where_unfit

MISSING = ("onnxruntime", "onnx", "torch", "transformers", "safetensors", "psutil", "scipy")
#: Hides packages, as if they were not installed.
HIDE = f"import json, sys\nsys.modules.update(dict.fromkeys({MISSING}))\n"
USE = """
import bertedge
runtime = bertedge.load(sys.argv[1], threads=1)
found = {"engine": runtime.engine.name, "verified": bertedge.verify(runtime).passed}
runtime.fill_mask("The cat sat on the [MASK].")
found["vectors"] = runtime.encode(["The cat sat.", "It was warm."]).shape
"""
LOADED = """
found["modules"] = [name for name in ("onnxruntime", "onnx") if sys.modules.get(name)]
print(json.dumps(found))
"""
REFUSED = """
from bertedge.errors import MissingExtraError
found = {}
for name in ("onnxruntime", "numpy"):
    try:
        bertedge.load(sys.argv[1], engine=name)
    except MissingExtraError as error:
        found[name] = str(error)
print(json.dumps(found))
"""


def result_of(code: str, bundle: Bundle) -> Any:
    """What a program prints as JSON."""
    command = [sys.executable, "-c", code, str(bundle.folder)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])


@pytest.mark.parametrize("hidden", ["import json, sys", HIDE], ids=["installed", "not installed"])
def test_the_native_engine_needs_no_onnxruntime(hidden: str, bundle_of: Callable[..., Bundle]) -> None:
    bundle = bundle_of("static")
    skip_where_unfit(ENGINES["native"], bundle)
    assert result_of(hidden + USE.replace("threads=1", 'threads=1, engine="native"') + LOADED, bundle) == {
        "engine": "native",
        "verified": True,
        "vectors": [2, 32],
        "modules": [],
    }


def test_without_it_any_bundle_runs_on_the_native_engine(bundle_of: Callable[..., Bundle]) -> None:
    """Where onnxruntime is installed, it runs float bundles."""
    bundle = bundle_of(FLOAT)
    skip_where_unfit(ENGINES["native"], bundle)
    assert result_of(HIDE + USE + LOADED, bundle)["engine"] == "native"


def test_engines_that_need_it_say_so(bundle_of: Callable[..., Bundle]) -> None:
    found = result_of(f"{HIDE}\nimport bertedge\n{REFUSED}", bundle_of("static"))
    assert found.keys() == {"onnxruntime", "numpy"}
    for words in found.values():
        assert words == "the package 'onnxruntime' is needed and is not installed\nhint: pip install onnxruntime"


@pytest.mark.parametrize("command", [["info"], ["verify"], ["fill-mask", "a [MASK]."]])
def test_commands_need_no_onnxruntime(command: list[str], bundle_of: Callable[..., Bundle]) -> None:
    bundle = bundle_of("static")
    skip_where_unfit(ENGINES["native"], bundle)
    name, *more = command
    arguments = ["bertedge", name, str(bundle.folder), *more]
    if name != "info":
        arguments += ["--engine", "native"]
    code = f"{HIDE}\nsys.argv = {arguments}\nfrom bertedge.__main__ import main\nmain()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert name == "fill-mask" or "native: int8 kernel on this CPU" in done.stdout
