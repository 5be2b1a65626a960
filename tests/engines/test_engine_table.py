"""Engines by name, and what a new one costs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import bertedge
from bertedge.bundle import Bundle
from bertedge.engines import AUTO, ENGINES, Engine, choose_engine, first_choice
from bertedge.engines.engine import ProfilingExecutor
from bertedge.errors import UnfitMachineError, UsageError
from bertedge.predictor import Row
from bertedge.runtime import load
from tests.cli.test_cli import LITTLE, typed
from tests.conftest import FLOAT, skip_where_unfit

ROW = Row(
    input_ids=np.arange(5, 14), token_type_ids=np.zeros(9, dtype=np.int64), masked_positions=np.arange(2), hidden=True
)


@pytest.fixture(params=ENGINES.values(), ids=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    return request.param


def test_profiles_name_the_operators(engine: Engine, bundle_of: Callable[..., Bundle]) -> None:
    skip_where_unfit(engine, bundle_of(FLOAT))
    executor = engine.open(bundle_of(FLOAT), threads=1)
    if isinstance(executor, ProfilingExecutor):
        nodes = executor.profile([ROW], seconds=0)
        assert {len(node.calls_ms) for node in nodes} == {len(nodes[0].calls_ms)}
        assert all(node.ms >= 0 for node in nodes)


def test_golden_vectors_are_met_on_each(engine: Engine, bundle_of: Callable[..., Bundle]) -> None:
    bundle = bundle_of("static")
    skip_where_unfit(engine, bundle)
    result = bertedge.verify(bundle.folder, engine=engine.name)
    assert result.passed
    assert load(bundle.folder, engine=engine.name).engine is engine
    done = typed("verify", bundle.folder, "--engine", engine.name)
    assert done.returncode == 0
    assert f"engine           {engine.name}: " in done.stdout


def test_auto_takes_the_first_that_is_correct(
    bundle_of: Callable[..., Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **more: object) -> None:
        raise UnfitMachineError("the first cannot", "take another one")

    manifest, onnxruntime = bundle_of("static").manifest, ENGINES["onnxruntime"]
    slow = replace(onnxruntime, name="slow", why_slow=lambda manifest: "it is slow")
    engines = {"first": replace(onnxruntime, name="first", require=refuse), "slow": slow, "onnxruntime": onnxruntime}
    monkeypatch.setattr("bertedge.engines.ENGINES", engines | {"numpy": ENGINES["numpy"]})
    assert choose_engine(AUTO, manifest) is onnxruntime
    assert first_choice(manifest).passed_over == {"first": "the first cannot", "slow": "it is slow"}
    with pytest.raises(UnfitMachineError, match="the first cannot"):
        choose_engine("first", manifest)
    monkeypatch.setattr("bertedge.engines.ENGINES", {"first": engines["first"], "numpy": ENGINES["numpy"]})
    with pytest.raises(UnfitMachineError, match="the first cannot"):
        choose_engine(AUTO, manifest)
    engines = {"first": engines["first"], "slow": slow, "last": replace(engines["first"], name="last")}
    monkeypatch.setattr("bertedge.engines.ENGINES", engines)
    assert choose_engine(AUTO, manifest) is slow
    assert first_choice(manifest).passed_over.keys() == {"first", "last"}
    monkeypatch.setattr("bertedge.engines.ENGINES", ENGINES)
    with pytest.raises(UsageError, match="engine 'numpi' is not known") as caught:
        choose_engine("numpi", manifest)
    assert "did you mean 'numpy'" in caught.value.hint


#: A new engine, as a package of its own would add it.
NEW_ENGINE = """
from dataclasses import replace
from bertedge.engines import ENGINES
ENGINES["new"] = replace(ENGINES["numpy"], name="new", describe=lambda: "a new one")
"""


@pytest.fixture
def with_new_engine(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run commands where a new engine is registered."""
    (tmp_path / "sitecustomize.py").write_text(NEW_ENGINE)
    package = str(Path(bertedge.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), package]), "COLUMNS": "200"}

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command: Sequence[str] = [sys.executable, "-m", "bertedge", *map(str, arguments)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    return run


def test_a_new_engine_is_one_row(
    with_new_engine: Callable[..., subprocess.CompletedProcess[str]],
    bundle_of: Callable[..., Bundle],
    model_folder: Path,
    corpus_file: Path,
    tmp_path: Path,
) -> None:
    folder = bundle_of("static").folder
    verified = with_new_engine("verify", folder, "--engine", "new")
    assert verified.returncode == 0, verified.stderr
    assert "engine           new: a new one" in verified.stdout
    assert with_new_engine("fill-mask", folder, "A [MASK].", "--engine", "new").returncode == 0
    engines = ("--engine", "onnxruntime", "--engine", "new")
    options = ("--reference", model_folder, "--corpus", corpus_file, *engines, "--json", tmp_path / "report.json")
    measured = with_new_engine("bench", folder, *options, *LITTLE)
    assert measured.returncode == 0, measured.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    found = [(row["engine"], row["name"], row["profile"] is None) for row in report["candidates"]]
    assert found == [
        ("onnxruntime", f"{folder.name} on onnxruntime", False),
        ("new", f"{folder.name} on new", True),
    ]
    assert report["missing"] == []


@pytest.mark.parametrize("name", ["", "nmpy", None, 3])
def test_an_unknown_engine_lists_those_there_are(name: object, bundle_of: Callable[..., Bundle]) -> None:
    with pytest.raises(UsageError, match="engine .* is not known") as raised:
        load(bundle_of("dynamic").folder, engine=name)  # type: ignore[arg-type]
    assert "auto, native, numpy, onnxruntime" in raised.value.hint
