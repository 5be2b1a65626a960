"""The search on real, tiny models."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from bertedge import target
from bertedge.bundle import Bundle
from bertedge.checkpoint import Checkpoint, open_checkpoint, write_checkpoint
from bertedge.cpu import X86, parse_cpuinfo
from bertedge.encoders import EncoderConfig
from bertedge.errors import FileError, UnfitMachineError, UsageError
from bertedge.evaluate.goals import goals_of
from bertedge.files import sha256
from bertedge.heads.parts import Parts
from bertedge.progress import no_progress
from bertedge.quantization import quantize
from bertedge.recipe import METHODS, RECIPES, QuantizationRecipe, WeightOnly
from bertedge.records import to_json
from bertedge.runtime import load
from bertedge.runtime.golden import verify
from bertedge.tokenizer import Tokenizer
from bertedge.tuning import rounds, search
from bertedge.tuning.outcome import Tuned
from bertedge.tuning.search import prefixes_of, tune
from bertedge.tuning.tuning_settings import TuneSettings
from bertedge.tuning.workbench import Workbench
from tests.cli.test_cli import typed
from tests.cli.test_signals_and_streams import start, wait_for
from tests.conftest import random_tensors
from tests.test_target import HASWELL

EASY = goals_of({"max_mlm_drop": 0.5, "max_p95_ms": 60_000.0, "max_size_mb": 30.0})


@pytest.fixture(scope="module")
def settings(corpus_file: Path) -> TuneSettings:
    return TuneSettings(calibration=corpus_file, length=16, examples=24, threads=(1,))


@pytest.fixture(autouse=True, scope="module")
def few_rounds() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rounds, "FIRST_ROUNDS", 2)
        patch.setattr(search, "FINAL_ROUNDS", 3)
        yield


@pytest.fixture(scope="module")
def finished(
    model_folder: Path, settings: TuneSettings, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Tuned]:
    """A search with easy goals, and its folder; not to be changed by tests."""
    runs = tmp_path_factory.mktemp("finished") / "runs"
    return runs, tune([model_folder], runs, goals=EASY, settings=settings)


def check_what_is_left(folder: Path, tuned: Tuned) -> None:
    """Everything that is reported was run, and the best bundle is the one that is reported."""
    assert json.loads((folder / "pareto.json").read_text())["best"] == tuned.best
    assert (folder / "pareto.svg").read_text().startswith("<?xml")
    measured = {entry.name: entry for entry in tuned.measured}
    for entry in (*tuned.points, *tuned.beaten):
        assert measured[entry.name].sha256 == entry.sha256
        assert measured[entry.name].fidelity == entry.fidelity
        bundle = Bundle.open(folder / "candidates" / entry.folder)
        assert sha256(bundle.model_path) == entry.sha256
        assert all(timed.calls > 0 for timed in entry.latency)
    best = Bundle.open(folder / "best")
    assert sha256(best.model_path) == measured[tuned.best].sha256
    assert verify(load(best.folder)).passed


def test_casing_is_that_of_the_search(model_folder: Path, settings: TuneSettings, tmp_path: Path) -> None:
    goals = goals_of({"max_mlm_drop": 1.0})
    tune([model_folder], tmp_path / "runs", goals=goals, settings=replace(settings, budget_minutes=1e-6), cased=True)
    assert not Bundle.open(tmp_path / "runs" / "best").tokenizer.lowercases


def test_a_search_that_ends_well(model_folder: Path, settings: TuneSettings, tmp_path: Path) -> None:
    lines: list[str] = []
    told: list[tuple[float, str]] = []
    tuned = tune(
        [model_folder],
        tmp_path / "runs",
        goals=EASY,
        settings=settings,
        note=lines.append,
        listen=lambda share, text: told.append((share, text)),
    )
    assert tuned.met
    assert tuned.complete
    assert tuned.timed_together
    assert {entry.recipe.method.name for entry in tuned.measured} == set(METHODS)
    assert len(lines) == len(METHODS)
    assert all("meets all goals" in line for line in lines)
    assert all(0 <= share <= 1 for share, _ in told)
    check_what_is_left(tmp_path / "runs", tuned)
    assert not list(tmp_path.glob(".*"))


def test_goals_that_cannot_be_met_leave_the_best_and_a_sentence(
    model_folder: Path, corpus_file: Path, tmp_path: Path
) -> None:
    runs, folder = tmp_path / "runs", Path(shutil.copytree(model_folder, tmp_path / "classifier"))
    tensors = load_file(folder / "model.safetensors")
    save_file({**tensors, "classifier.weight": np.ones((2, 32), np.float32)}, folder / "model.safetensors")
    done = typed(
        *("tune", folder, "-o", runs, "--calibration", corpus_file),
        *("--length", 16, "--examples", 16, "--max-p95-ms", 0.000001, "--max-kl", 10, "--threads", 1),
    )
    assert done.returncode == 1, done.stderr
    *_, error, hint = done.stderr.splitlines()
    assert error.startswith("error: no candidate meets all goals")
    assert "the goal is at most 1e-06" in error
    assert hint.startswith("hint: ")
    assert "met: mlm.kl_mean" in done.stderr
    assert "warning: 1 tensor is left out, because no part of BERT reads it: classifier.weight" in done.stderr
    assert "static (best)" in done.stdout or "(best)" in done.stdout
    assert verify(load(runs / "best")).passed
    raw = json.loads((runs / "pareto.json").read_text())
    assert raw["goals"]["max_p95_ms"]["met"] is False
    assert raw["goals"]["max_kl"]["met"] is True


def test_an_interrupted_search_resumes(
    model_folder: Path, settings: TuneSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(line: str) -> None:
        raise KeyboardInterrupt

    runs = tmp_path / "runs"
    with pytest.raises(KeyboardInterrupt):
        tune([model_folder], runs, goals=EASY, settings=settings, note=interrupt)
    first = json.loads((runs / "pareto.json").read_text())
    assert [entry["name"] for entry in first["measured"]] == ["dynamic"]
    assert first["timed_together"] is False
    assert verify(load(runs / "best")).passed
    made: list[str] = []
    real = Workbench.make

    def spy(self: Workbench, model: int, recipe, *rest) -> Bundle:  # type: ignore[no-untyped-def]
        made.append(recipe.method.name)
        return real(self, model, recipe, *rest)

    monkeypatch.setattr(Workbench, "make", spy)
    lines: list[str] = []
    tuned = tune([model_folder], runs, goals=EASY, settings=settings, note=lines.append)
    assert made == [name for name in METHODS if name != "dynamic"]
    assert [line.endswith("(measured before)") for line in lines] == [True, False, False]
    assert to_json(tuned.measured[0]) == first["measured"][0]
    check_what_is_left(runs, tuned)
    made.clear()
    tune([model_folder], runs, goals=EASY, settings=settings)
    assert made == []
    tune([model_folder], runs, goals=EASY, settings=settings, force=True)
    assert made == list(METHODS)


def test_harder_goals_take_up_what_was_measured_and_promote(
    model_folder: Path, settings: TuneSettings, finished: tuple[Path, Tuned], tmp_path: Path
) -> None:
    runs, easy = Path(shutil.copytree(finished[0], tmp_path / "runs")), finished[1]
    losses = {entry.name: entry.fidelity["mlm.kl_mean"].value for entry in easy.measured}
    hard = tune([model_folder], runs, goals=goals_of({"max_kl": losses["static"] / 200}), settings=settings)
    assert hard.met
    assert [entry.name for entry in hard.measured][: len(losses)] == list(losses)
    assert "promoted-" in hard.best
    reasons = Bundle.open(runs / "best").manifest.layer_reasons
    assert any(": promoted, which alone changes mlm.kl_mean" in reason for reason in reasons.values())
    check_what_is_left(runs, hard)


def test_a_bundle_that_another_took_the_place_of_is_made_again(
    model_folder: Path, settings: TuneSettings, finished: tuple[Path, Tuned], tmp_path: Path
) -> None:
    runs, once = Path(shutil.copytree(finished[0], tmp_path / "runs")), finished[1]
    best = next(entry for entry in once.measured if entry.name == once.best)
    other = QuantizationRecipe(method=WeightOnly(bits=4))
    quantize(model_folder, runs / "candidates" / best.folder, recipe=other, force=True)
    check_what_is_left(runs, tune([model_folder], runs, goals=EASY, settings=settings))


def test_a_damaged_copy_of_the_best_is_copied_again(
    model_folder: Path, settings: TuneSettings, finished: tuple[Path, Tuned], tmp_path: Path
) -> None:
    runs = Path(shutil.copytree(finished[0], tmp_path / "runs"))
    os.truncate(runs / "best" / "model.onnx", 10)
    check_what_is_left(runs, tune([model_folder], runs, goals=EASY, settings=settings))


def test_the_time_may_be_over_after_one_candidate(model_folder: Path, settings: TuneSettings, tmp_path: Path) -> None:
    hard = goals_of({"max_kl": 1e-15})
    tuned = tune([model_folder], tmp_path / "runs", goals=hard, settings=replace(settings, budget_minutes=1e-9))
    assert [entry.name for entry in tuned.measured] == ["dynamic"]
    assert not tuned.complete
    assert not tuned.met
    check_what_is_left(tmp_path / "runs", tuned)


def student_of(config: EncoderConfig, tokenizer: Tokenizer, folder: Path, seed: int) -> Path:
    folder.mkdir()
    small = replace(config, num_hidden_layers=1)
    write_checkpoint(folder, small, random_tensors(small, Parts(("mlm", "nsp")), seed), tokenizer)
    return folder


def test_a_student_is_judged_by_its_teachers_hits_and_its_own_fidelity(
    model_folder: Path, config: EncoderConfig, tokenizer: Tokenizer, settings: TuneSettings, tmp_path: Path
) -> None:
    student = student_of(config, tokenizer, tmp_path / "student", seed=3)
    goals = goals_of({"max_mlm_drop": 1.0, "max_size_mb": 30.0})
    tuned = tune([model_folder, student], tmp_path / "runs", goals=goals, settings=replace(settings, everything=False))
    assert {entry.model for entry in tuned.measured} == {1}  # it costs less, and is good enough
    assert tuned.best.startswith("student ")
    bench = Workbench([open_checkpoint(model) for model in (model_folder, student)], settings, tmp_path, no_progress)
    in_float = bench.float_fidelity(1)
    assert abs(in_float["mlm.kl_mean"].value) < 1e-6
    for entry in tuned.measured:
        assert 0 < entry.fidelity["mlm.kl_mean"].value < 0.1
        lost = in_float["mlm.top1_accuracy_drop"].value
        assert entry.fidelity["mlm.top1_accuracy_drop"].value == pytest.approx(lost, abs=0.05)
    check_what_is_left(tmp_path / "runs", tuned)


def test_bad_input(
    model_folder: Path, config: EncoderConfig, settings: TuneSettings, corpus_file: Path, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    with pytest.raises(UsageError, match="no goal is given") as raised:
        tune([model_folder], runs, goals=(), settings=settings)
    assert "--max-mlm-drop" in raised.value.hint
    with pytest.raises(UsageError, match=r"exclude 'poolr'"):
        tune([model_folder], runs, goals=EASY, settings=replace(settings, exclude=("poolr",)))
    for recipe in (
        RECIPES["default"].changed(exclude=("poolr",)),
        RECIPES["default"].changed(float16=("poolr",)),
        RECIPES["default"].changed(finer=("poolr",)),
        RECIPES["default"].changed(examples=10**6),
    ):
        recipes = {"good": RECIPES["dynamic"], "wrong": recipe}
        with pytest.raises(UsageError, match="'poolr' matches no layer|number of examples is 1000000"):
            tune([model_folder], runs, goals=EASY, settings=replace(settings, recipes=recipes))
    with pytest.raises(UsageError, match="--length 300"):
        tune([model_folder], runs, goals=EASY, settings=replace(settings, length=300))
    other = Tokenizer.train(["some other words altogether"] * 4, vocab_size=300, max_length=64)
    other_words = student_of(replace(config, vocab_size=other.vocab_size), other, tmp_path / "other_words", seed=0)
    with pytest.raises(UsageError, match="other_words: has another vocabulary than tiny-bert"):
        tune([model_folder, other_words], runs, goals=EASY, settings=settings)
    assert not runs.exists()
    for wrong in (
        {"threads": (0,)},
        {"examples": 0},
        {"examples": 10**8},
        {"budget_minutes": 0.0},
        {"budget_minutes": float("nan")},
    ):
        with pytest.raises(UsageError):
            TuneSettings(**wrong)  # type: ignore[arg-type]


def test_a_target_that_is_wrong_here_cannot_be_measured(
    model_folder: Path, settings: TuneSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target, "this_cpu", lambda: parse_cpuinfo(HASWELL, X86))
    there = replace(settings, target="avx512-vnni")
    with pytest.raises(UnfitMachineError, match="overflow"):
        tune([model_folder], tmp_path / "runs", goals=EASY, settings=there)
    with pytest.raises(UnfitMachineError, match="overflow"):
        quantize(model_folder, tmp_path / "b", target=there.target, calibration=settings.calibration, goals=EASY[:1])
    assert list(tmp_path.iterdir()) == []
    blocks = QuantizationRecipe(method=WeightOnly(bits=8, rounding="nearest"))  # cannot overflow anywhere
    loose = goals_of({"max_kl": 1.0})
    made = quantize(
        model_folder, tmp_path / "b", target=there.target, recipe=blocks, calibration=settings.calibration, goals=loose
    )
    assert made.manifest.goals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_keeps_the_best_and_says_how_to_go_on(
    number: int, model_folder: Path, corpus_file: Path, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    process = start(
        *("tune", model_folder, "-o", runs, "--calibration", corpus_file, "--length", 16, "--examples", 16),
        *("--max-kl", "1e-15", "--threads", 1),
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    wait_for(lambda: (runs / "pareto.svg").is_file() and len(list((runs / "candidates").glob("[!.]*"))) > 1, process)
    os.killpg(process.pid, number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == (130 if number == signal.SIGINT else 128 + number), err
    assert "continue with:" in err
    assert f"bertedge tune {model_folder} -o {runs}" in err
    assert "Traceback" not in err
    assert verify(load(runs / "best")).passed
    assert json.loads((runs / "pareto.json").read_text())["measured"]
    left = {path.name for path in tmp_path.iterdir()} - {"runs", ".ses"}
    assert left == set()
    assert not list(runs.glob(".*"))
    assert not list((runs / "candidates").glob(".*"))


def test_the_command_line_refuses_what_it_does_not_understand(model_folder: Path, tmp_path: Path) -> None:
    for options in (["--max-kl", "-1"], ["--max-kl", "nan"], ["--max-p95-ms", "fast"], [], ["--max-p95-ms", "0"]):
        done = typed("tune", model_folder, "-o", tmp_path / "r", *options)
        assert done.returncode == 2, done.stderr
        assert done.stderr.splitlines()[-1].startswith("hint: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("lost", ["candidates/{}/model.onnx", "candidates/{}/manifest.json", "best/manifest.json"])
def test_bundles_that_somebody_was_stopped_removing_are_made_again(
    lost: str, model_folder: Path, settings: TuneSettings, finished: tuple[Path, Tuned], tmp_path: Path
) -> None:
    runs, once = Path(shutil.copytree(finished[0], tmp_path / "runs")), finished[1]
    best = next(entry for entry in once.measured if entry.name == once.best)
    (runs / lost.format(best.folder)).unlink()
    check_what_is_left(runs, tune([model_folder], runs, goals=EASY, settings=settings))


def test_other_settings_are_measured_next_to_what_is_there(
    model_folder: Path, settings: TuneSettings, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    with pytest.raises(UsageError, match="shares its table"):
        tune([model_folder], runs, goals=EASY, settings=replace(settings, exclude=("embeddings.word",)))
    mine = replace(settings, recipes={"mine": QuantizationRecipe(method=WeightOnly(bits=8, rounding="nearest"))})
    for given in (mine, replace(mine, length=24), mine):
        tuned = tune([model_folder], runs, goals=EASY, settings=given)
        assert tuned.best == "mine"
        assert tuned.settings["length"] == given.length
    assert len([path for path in (runs / "candidates").iterdir() if path.is_dir()]) == 2


def test_two_searches_in_one_folder_are_refused(model_folder: Path, settings: TuneSettings, tmp_path: Path) -> None:
    runs = tmp_path / "runs"

    def second(line: str) -> None:
        with pytest.raises(FileError, match="another process is searching"):
            tune([model_folder], runs, goals=EASY, settings=settings)

    lines: list[str] = []
    tune([model_folder], runs, goals=EASY, settings=settings, note=lambda line: (lines.append(line), second(line))[0])
    assert lines


def test_models_that_share_a_name_are_numbered(checkpoint: Checkpoint) -> None:
    names = ("a", "a", "a 1")
    prefixes = prefixes_of([replace(checkpoint, name=name) for name in names])
    assert len(set(prefixes)) == 3
    assert prefixes_of([checkpoint]) == [""]
