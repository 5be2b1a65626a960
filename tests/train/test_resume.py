"""A run that was interrupted goes on as if nothing had happened."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bertedge.checkpoint import Checkpoint
from bertedge.errors import FileError, UsageError
from bertedge.train import folder as folder_module
from bertedge.train import keeper as keeper_module
from bertedge.train.loop import Progress
from bertedge.train.run import ModelShape, distill, train
from bertedge.train.settings import TrainingSettings

SETTINGS = TrainingSettings(
    steps=12, batch_size=8, max_length=32, learning_rate=3e-3, held_out=0.2, evaluations=3, precision="float32"
)
SHAPE = ModelShape(layers=1, hidden=32, vocab_size=200)


class Killed(Exception):
    """Stands for the end of the process, at a place that a signal would hit by chance only."""


def weights_of(folder: Path) -> dict[str, np.ndarray]:
    return dict(Checkpoint.read(folder).tensors())


def assert_same_run(one: Path, other: Path) -> None:
    first, second = weights_of(one), weights_of(other)
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[name], second[name]) for name in first)
    timeless = [
        [
            {key: value for key, value in json.loads(line).items() if key != "elapsed_s"}
            for line in (folder / "metrics.jsonl").read_text().splitlines()
        ]
        for folder in (one, other)
    ]
    assert timeless[0] == timeless[1]


def killed_after(step: int):  # type: ignore[no-untyped-def]
    def listen(progress: Progress) -> None:
        if progress.step == step:
            raise Killed

    return listen


@pytest.mark.parametrize("step", [1, 5, 9])
def test_train_resumed_is_train_unbroken(library: Path, tmp_path: Path, step: int) -> None:
    """Dropout, order of pairs, masks, optimizer, schedule and log: all are as they would have been."""
    settings = replace(SETTINGS, save_minutes=1e-9)  # after every step
    train(library, tmp_path / "whole", SETTINGS, shape=SHAPE)
    with pytest.raises(Killed):
        train(library, tmp_path / "cut", settings, shape=SHAPE, on_step=killed_after(step))
    assert (tmp_path / "cut.run").is_dir()
    done = train(library, tmp_path / "cut", settings, shape=SHAPE, resume=True)
    assert done.step == SETTINGS.steps
    assert_same_run(tmp_path / "whole", tmp_path / "cut")
    assert not (tmp_path / "cut.run").exists()


def test_distill_resumed_is_distill_unbroken(model_folder: Path, library: Path, tmp_path: Path) -> None:
    settings = replace(SETTINGS, save_minutes=1e-9, max_length=48)
    distill(model_folder, library, tmp_path / "whole", settings, shape=SHAPE)
    with pytest.raises(Killed):
        distill(model_folder, library, tmp_path / "cut", settings, shape=SHAPE, on_step=killed_after(5))
    distill(model_folder, library, tmp_path / "cut", settings, shape=SHAPE, resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "cut")


def test_a_run_killed_before_its_first_save_starts_over(library: Path, tmp_path: Path) -> None:
    train(library, tmp_path / "whole", SETTINGS, shape=SHAPE)
    with pytest.raises(Killed):
        train(library, tmp_path / "cut", SETTINGS, shape=SHAPE, on_step=killed_after(2))
    train(library, tmp_path / "cut", SETTINGS, shape=SHAPE, resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "cut")


def test_an_interrupted_run_is_not_overwritten_by_accident(library: Path, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train(library, tmp_path / "out", SETTINGS, shape=SHAPE, on_step=killed_after(2))
    with pytest.raises(FileError, match="an interrupted run is there"):
        train(library, tmp_path / "out", SETTINGS, shape=SHAPE)
    assert train(library, tmp_path / "out", SETTINGS, shape=SHAPE, force=True).step == SETTINGS.steps


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"seed": 3}, "settings.seed was 0, is 3"),
        ({"learning_rate": 1e-3, "steps": 13}, "settings.learning_rate was 0.003, is 0.001; settings.steps was 12"),
    ],
)
def test_another_run_is_not_resumed(library: Path, tmp_path: Path, change: dict, told: str) -> None:
    with pytest.raises(Killed):
        train(library, tmp_path / "out", SETTINGS, shape=SHAPE, on_step=killed_after(2))
    with pytest.raises(UsageError, match=told):
        train(library, tmp_path / "out", replace(SETTINGS, **change), shape=SHAPE, resume=True)


def test_another_corpus_is_not_resumed(library: Path, corpus_file: Path, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train(library, tmp_path / "out", SETTINGS, shape=SHAPE, on_step=killed_after(2))
    with pytest.raises(UsageError, match=r"corpus\.sha256 was"):
        train(corpus_file, tmp_path / "out", SETTINGS, shape=SHAPE, resume=True)


def test_there_must_be_something_to_resume(library: Path, tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no interrupted run"):
        train(library, tmp_path / "out", SETTINGS, shape=SHAPE, resume=True)


@pytest.mark.parametrize("name", [folder_module.TENSORS, folder_module.PLACE])
def test_a_broken_state_is_an_error(library: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(Killed):
        train(library, tmp_path / "out", replace(SETTINGS, save_minutes=1e-9), shape=SHAPE, on_step=killed_after(4))
    with open(tmp_path / "out.run" / "state" / name, "r+b") as file:
        file.truncate(20)
    with pytest.raises(FileError, match=name if name == folder_module.PLACE else "cannot be read"):
        train(library, tmp_path / "out", SETTINGS, shape=SHAPE, resume=True)


def test_a_full_disk_costs_a_save_and_not_the_run(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(library, tmp_path / "whole", SETTINGS, shape=SHAPE)
    notes: list[str] = []

    def full(*arguments: object, **options: object) -> None:
        raise FileError("no space left on device", "free some")

    def free_again(progress: Progress) -> None:
        if progress.step == 6:
            patch.undo()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folder_module.torch, "save", full)
        patch.setattr(keeper_module, "write_checkpoint", full)
        settings = replace(SETTINGS, save_minutes=1e-9)
        train(library, tmp_path / "out", settings, shape=SHAPE, on_step=free_again, note=notes.append)
    assert sum("tried again later" in note for note in notes) >= 6
    assert_same_run(tmp_path / "whole", tmp_path / "out")


def start(library: Path, output: Path, *extra: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bertedge", "train", library, "-o", output, "--layers", "1", "--hidden", "32"]
    command += ["--vocab-size", "200", "--steps", "80", "--batch-size", "8", "--max-length", "32"]
    command += ["--precision", "float32", "--held-out", "0.2", *extra]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [str(part) for part in command],
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background job would ignore it
    )


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 90
    while not path.exists():
        assert process.poll() is None, process.stderr.read()  # type: ignore[union-attr]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_kill_nine_and_resume(library: Path, tmp_path: Path) -> None:
    """A real process, a real SIGKILL, the command line: the weights are those of an unbroken run, bit for bit."""
    whole = start(library, tmp_path / "whole")
    assert whole.wait() == 0, whole.stderr.read()  # type: ignore[union-attr]
    cut = start(library, tmp_path / "cut", "--save-minutes", "0.0000001")
    wait_for(tmp_path / "cut.run" / "state", cut)
    cut.send_signal(signal.SIGKILL)
    assert cut.wait() == -signal.SIGKILL
    again = start(library, tmp_path / "cut", "--save-minutes", "1", "--resume")
    _, told = again.communicate()
    assert again.returncode == 0, told
    assert "going on after step" in told
    assert_same_run(tmp_path / "whole", tmp_path / "cut")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_saves_and_says_how_to_go_on(library: Path, tmp_path: Path, number: signal.Signals) -> None:
    process = start(library, tmp_path / "out")
    wait_for(tmp_path / "out.run" / "metrics.jsonl", process)
    process.send_signal(number)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert "Traceback" not in told
    assert "everything is saved" in told
    assert any(line.startswith("bertedge train") and line.endswith("--resume") for line in told.splitlines())
    assert (tmp_path / "out.run" / "state" / folder_module.TENSORS).is_file()
    again = start(library, tmp_path / "out", "--resume")
    _, told = again.communicate()
    assert again.returncode == 0, told
    assert not shutil.rmtree(tmp_path / "out")
    assert not (tmp_path / "out.run").exists()
