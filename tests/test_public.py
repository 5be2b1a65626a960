"""The public names: typed for a user's program, loaded when they are used, and doing what the commands do."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import bertedge
from bertedge.bundle import Bundle
from bertedge.errors import FileError, MissingExtraError, UsageError
from bertedge.heads.parts import Parts
from bertedge.recipe import Dynamic
from bertedge.runtime import load
from bertedge.runtime.golden import verify as replay
from bertedge.train import pretrain
from tests.report.samples import model, report_of

ROOT = Path(bertedge.__file__).parents[1]
PAGES = (ROOT / "README.md", ROOT / "docs" / "getting-started.md")
TEXT = "The cat sat on the [MASK]."
#: What else a user's program may do; ``assert_type`` is checked by mypy alone.
PROGRAM = """
from pathlib import Path
from typing import Literal, assert_type

import numpy as np
from numpy.typing import NDArray

import bertedge

Array = NDArray[np.float32]

def use(bert: bertedge.BertRuntime, texts: list[str], how: Literal["mean", "none"]) -> None:
    assert_type(bert.encode("one"), Array)
    assert_type(bert.encode("one", pooling="none"), Array)
    assert_type(bert.encode(texts), Array)
    assert_type(bert.encode(tuple(texts), pooling="mean", normalize=True), Array)
    assert_type(bert.encode(texts, pooling="pooler"), Array)
    assert_type(bert.encode(texts, pooling="none"), list[Array])
    assert_type(bert.encode(texts, pooling=how), Array | list[Array])
    assert_type(bert.next_sentence("One.", "Two."), float)
    assert_type(bert.next_sentence([("One.", "Two.")]), list[float])
    assert_type(bert.fill_mask("[MASK]")[0][0].probability, float)
    assert_type(bert.fill_mask(texts)[0][0][0].token, str)
    assert_type((bert.dimension, bert.max_length), tuple[int, int])

def make(folder: str, path: Path) -> bool:
    recipe = bertedge.QuantizationRecipe(exclude=("decoder",))
    goals = [bertedge.Goal(option="max_kl", bound=0.001)]
    for model in (folder, path):
        bertedge.export(model, model, vocab_corpus=model)
        assert_type(bertedge.quantize(model, model, recipe=recipe, calibration=model, goals=goals), bertedge.Bundle)
        bertedge.tune([model], model, goals=goals, settings=bertedge.TuneSettings(calibration=model, corpus=model))
        standard = bertedge.Standard(against=model)
        settings = bertedge.BenchSettings(threads=1)
        report = bertedge.bench([model], reference=model, corpus=model, settings=settings, standard=standard)
        verdicts = bertedge.compare(model, report, budgets=model)
        assert_type(verdicts[0].sentence, str)
        bertedge.write_report(model, bertedge.read_report(model))
        assert_type(bertedge.load(model), bertedge.BertRuntime)
    return bertedge.verify(path).passed and bertedge.verify(bertedge.load(folder)).passed

def learn(folder: str, path: Path) -> int:
    settings = bertedge.TrainingSettings(minutes=60)
    shape = bertedge.ModelShape(layers=4, hidden=256)
    weights = bertedge.DistillationSettings(labels_weight=0.0)
    for place in (folder, path):
        bertedge.train(place, place, settings, shape=shape, init=place, cache=place)
        done = bertedge.distill(place, place, place, settings, shape=shape, distillation=weights, cache=place)
    return done.step

def careful(folder: str) -> str:
    try:
        return repr(bertedge.load(folder))
    except bertedge.BertEdgeError as error:
        return error.hint
"""
MYPY = """
[mypy]
strict = True
# where bertedge is installed, nothing in it is reported either
follow_imports = silent
# of what torch is, nothing shows in bertedge's signatures
[mypy-torch.*]
follow_imports = skip
"""


def test_a_users_program_passes_mypy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert blocks
    for index, block in enumerate([*blocks, PROGRAM]):
        (tmp_path / f"program_{index}.py").write_text(block, encoding="utf-8")
    (tmp_path / "mypy.ini").write_text(MYPY, encoding="utf-8")
    monkeypatch.setenv("MYPYPATH", str(ROOT))
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "--python-version", "3.11", "."],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_all_public_names_are_listed() -> None:
    assert sorted(bertedge.__all__) == bertedge.__all__
    assert set(bertedge.__all__) <= set(dir(bertedge))
    for name in bertedge.__all__:
        assert getattr(bertedge, name) is not None
        assert name in (ROOT / "bertedge" / "__init__.py").read_text(encoding="utf-8").split("__version__")[0]


def fresh(code: str) -> str:
    """Run a program in a process of its own."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_what_needs_no_extra_is_there_without_one() -> None:
    names = "BertEdgeError, BertRuntime, Bundle, Goal, QuantizationRecipe, TrainingSettings, compare, load, verify"
    hidden = "for name in ('torch', 'onnx', 'safetensors', 'jinja2', 'matplotlib'):\n    sys.modules[name] = None\n"
    assert fresh(f"import sys\n{hidden}from bertedge import {names}\nprint('there')") == "there\n"


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [("quantize", "onnx", "tools"), ("tune", "onnx", "tools"), ("distill", "torch", "train")],
)
def test_a_missing_package_is_named_with_its_extra(
    name: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = fresh(
        f"import sys\nsys.modules[{package!r}] = None\nimport bertedge\nfrom bertedge.errors import MissingExtraError\n"
        f"try:\n    bertedge.{name}\nexcept MissingExtraError as error:\n    print(error)"
    )
    assert said == str(MissingExtraError(package, extra)) + "\n"


@pytest.mark.parametrize(
    "before", ["", "import bertedge.train.training_settings\n", "from bertedge.train import training_settings\n"]
)
@pytest.mark.parametrize("take", ["train = bertedge.train", "from bertedge import train"])
def test_train_can_be_called_whatever_was_imported_before(before: str, take: str) -> None:
    said = fresh(
        f"{before}import sys\nsys.modules['torch'] = None\nimport bertedge\n{take}\n"
        "from bertedge.errors import MissingExtraError\n"
        "try:\n    train('corpus.txt', 'out', bertedge.TrainingSettings(steps=1))\n"
        "except MissingExtraError as error:\n    print(error)"
    )
    assert said == str(MissingExtraError("torch", "train")) + "\n"


def test_train_trains(corpus_file: Path, tmp_path: Path) -> None:
    settings = bertedge.TrainingSettings(steps=1, batch_size=2, max_length=16, precision="float32", evaluations=1)
    shape = bertedge.ModelShape(layers=1, hidden=32, vocab_size=200)
    assert bertedge.train(str(corpus_file), str(tmp_path / "out"), settings, shape=shape).step == 1
    assert bertedge.Checkpoint.read(tmp_path / "out").parts == Parts(("mlm", "nsp"))


def callables() -> Iterator[tuple[str, Callable[..., Any]]]:
    """The public functions, and the public classes with their methods."""
    for name in bertedge.__all__:
        value = pretrain.train if name == "train" else getattr(bertedge, name)
        yield name, value
        for method in vars(value) if inspect.isclass(value) else ():
            if not method.startswith("_") and callable(getattr(value, method)):
                yield f"{name}.{method}", getattr(value, method)


@pytest.mark.parametrize(("name", "function"), list(callables()), ids=[name for name, _ in callables()])
def test_what_takes_a_path_takes_a_string(name: str, function: Callable[..., Any]) -> None:
    # what Bundle.open and Checkpoint.read make is not made by hand
    parameters = {} if name in ("Bundle", "Checkpoint") else inspect.signature(function).parameters
    paths = {key: str(value.annotation) for key, value in parameters.items() if "Path" in str(value.annotation)}
    assert {key: annotation for key, annotation in paths.items() if "str" not in annotation} == {}


def test_paths_may_be_strings(model_folder: Path, corpus_file: Path, tmp_path: Path) -> None:
    recipe = bertedge.QuantizationRecipe(method=Dynamic())
    made = bertedge.quantize(str(model_folder), f"{tmp_path}/q", recipe=recipe, calibration=str(corpus_file))
    assert made.folder == tmp_path / "q"
    assert bertedge.export(str(model_folder), f"{tmp_path}/e").folder == tmp_path / "e"


def test_verify_takes_a_folder_or_a_loaded_bundle(bundle_of: Callable[..., Bundle], tmp_path: Path) -> None:
    folder = bundle_of("static").folder
    runtime = load(folder)
    assert bertedge.verify(str(folder)) == bertedge.verify(folder) == bertedge.verify(runtime) == replay(runtime)
    assert bertedge.verify(folder, threads=1).passed
    with pytest.raises(FileError, match="no such bundle"):
        bertedge.verify(tmp_path / "nowhere")


def test_compare_takes_files_or_reports(tmp_path: Path) -> None:
    small, large = (report_of(model("small", size)) for size in (1_000_000, 2_000_000))
    bertedge.write_report(f"{tmp_path}/small.json", small)
    assert bertedge.read_report(f"{tmp_path}/small.json").candidates == small.candidates
    (tmp_path / "budgets.toml").write_text('"size_bytes" = { max_ratio = 3.0 }\n')
    same = bertedge.compare(small, small)
    worse = bertedge.compare(str(tmp_path / "small.json"), large)
    assert {verdict.outcome for verdict in same if verdict.metric == "size_bytes"} == {"pass"}
    assert {verdict.outcome for verdict in worse if verdict.metric == "size_bytes"} == {"fail"}
    allowed = bertedge.compare(small, large, budgets=tmp_path / "budgets.toml")
    assert {verdict.outcome for verdict in allowed if verdict.metric == "size_bytes"} == {"pass"}
    cut = bertedge.compare(small, replace(small, complete=False, missing=("latency",)))
    assert (cut[0].metric, cut[0].outcome) == ("run", "fail")
    with pytest.raises(UsageError, match="interrupted"):
        bertedge.compare(replace(small, complete=False, missing=("latency",)), small)


def test_a_runtime_says_what_it_is(bundle_of: Callable[..., Bundle]) -> None:
    bundle = bundle_of("static")
    runtime = load(bundle.folder, threads=2)
    assert repr(runtime) == (
        f"BertRuntime({str(bundle.folder)!r}, dimension=32, max_length=64, heads='mlm, nsp', "
        f"engine={runtime.engine.name!r}, threads=2)"
    )
    assert runtime.encode("The cat sat.").shape == (runtime.dimension,)
