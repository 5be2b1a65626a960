"""A run that was interrupted goes on as if nothing had happened."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bertedge.checkpoint import Checkpoint
from bertedge.errors import BertEdgeError, FileError, UsageError
from bertedge.train import folder as folder_module
from bertedge.train import keeper as keeper_module
from bertedge.train.distill import distill
from bertedge.train.folder import log_of
from bertedge.train.loop import Progress
from bertedge.train.pretrain import train
from bertedge.train.training_settings import ModelShape, TrainingSettings
from tests.cli.test_cli import typed

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


@pytest.fixture(scope="module")
def whole(library: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a run that nothing interrupted."""
    output = tmp_path_factory.mktemp("whole") / "whole"
    train(library, output, SETTINGS, shape=SHAPE)
    return output


@pytest.mark.parametrize("step", [1, 5, 9])
def test_train_resumed_is_train_unbroken(library: Path, whole: Path, tmp_path: Path, step: int) -> None:
    """Dropout, order of pairs, masks, optimizer, schedule and log: all are as they would have been."""
    settings = replace(SETTINGS, save_minutes=1e-9)  # after every step
    with pytest.raises(Killed):
        train(library, tmp_path / "cut", settings, shape=SHAPE, on_step=killed_after(step))
    assert (tmp_path / "cut.run").is_dir()
    done = train(library, tmp_path / "cut", settings, shape=SHAPE, resume=True)
    assert done.step == SETTINGS.steps
    assert_same_run(whole, tmp_path / "cut")
    assert not (tmp_path / "cut.run").exists()


def test_distill_resumed_is_distill_unbroken(model_folder: Path, library: Path, tmp_path: Path) -> None:
    settings = replace(SETTINGS, save_minutes=1e-9, max_length=48)
    distill(model_folder, library, tmp_path / "whole", settings, shape=SHAPE)
    with pytest.raises(Killed):
        distill(model_folder, library, tmp_path / "cut", settings, shape=SHAPE, on_step=killed_after(5))
    distill(model_folder, library, tmp_path / "cut", settings, shape=SHAPE, resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "cut")


def test_a_run_killed_before_its_first_save_starts_over(library: Path, whole: Path, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train(library, tmp_path / "cut", SETTINGS, shape=SHAPE, on_step=killed_after(2))
    train(library, tmp_path / "cut", SETTINGS, shape=SHAPE, resume=True)
    assert_same_run(whole, tmp_path / "cut")


def test_an_interrupted_run_is_not_overwritten_by_accident(library: Path, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train(library, tmp_path / "out", SETTINGS, shape=SHAPE, on_step=killed_after(2))
    with pytest.raises(FileError, match="has an interrupted run"):
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


def interrupted(library: Path, output: Path, step: int = 4) -> Path:
    """The run folder of a run that was cut after some steps, all saved."""
    with pytest.raises(Killed):
        train(library, output, replace(SETTINGS, save_minutes=1e-9), shape=SHAPE, on_step=killed_after(step))
    return output.with_name(f"{output.name}.run")


@pytest.fixture(scope="module")
def cut_run(library: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was cut early; not to be changed by tests."""
    return interrupted(library, tmp_path_factory.mktemp("cut") / "out", step=2)


@pytest.mark.parametrize("name", [folder_module.TENSORS, folder_module.PLACE])
def test_a_broken_state_is_an_error(library: Path, cut_run: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(cut_run, tmp_path / "out.run")
    with open(tmp_path / "out.run" / "state" / name, "r+b") as file:
        file.truncate(20)
    with pytest.raises(FileError, match=name):
        train(library, tmp_path / "out", SETTINGS, shape=SHAPE, resume=True)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (None, "None is not an object"),
        ({"place": None}, "place.json.place: None"),
        ({"place": {"epoch": None}}, "epoch: None is not int"),
        ({"place": {"document": 10**9}}, "no such place"),
        ({"place": {"sentence": 99}}, "no such place"),
        ({"place": {"taken": 10**6}}, "no such place"),
        ({"place": {"window": -1}}, "no such place"),
        ({"best": {"step": None, "loss": 1.0}}, "not a number"),
        ({"best": {"loss": 1.0}}, "no step"),
        ({"best": []}, r"best: \[\] is not an object"),
    ],
)
def test_a_damaged_place_is_two_lines(
    library: Path, cut_run: Path, tmp_path: Path, change: dict | None, told: str
) -> None:
    path = shutil.copytree(cut_run, tmp_path / "out.run") / "state" / folder_module.PLACE
    path.write_text(json.dumps(change and {**json.loads(path.read_text()), **change}))
    with pytest.raises(FileError, match=told) as caught:
        train(library, tmp_path / "out", SETTINGS, shape=SHAPE, resume=True)
    assert str(caught.value).count("\n") == 1


@pytest.mark.parametrize(
    ("content", "told"),
    [("null", "not the description of a run"), ("{", "is not JSON"), ('{"kind": 1}', "kind was 1, is 'pretraining'")],
)
def test_a_damaged_description_is_two_lines(
    library: Path, cut_run: Path, tmp_path: Path, content: str, told: str
) -> None:
    (shutil.copytree(cut_run, tmp_path / "out.run") / "run.json").write_text(content)
    with pytest.raises(BertEdgeError, match=told) as caught:
        train(library, tmp_path / "out", SETTINGS, shape=SHAPE, resume=True)
    assert str(caught.value).count("\n") == 1


def test_a_state_of_another_model_is_two_lines(library: Path, cut_run: Path, tmp_path: Path) -> None:
    path = shutil.copytree(cut_run, tmp_path / "out.run") / "state" / folder_module.TENSORS
    state = torch.load(path, weights_only=True)
    del state["model"]["cls.predictions.bias"]
    torch.save(state, path)
    with pytest.raises(FileError, match="another model"):
        train(library, tmp_path / "out", SETTINGS, shape=SHAPE, resume=True)


@pytest.mark.parametrize("damage", [b"\xff\xfe\n", b"null\n", b"[1]\n", b'{"step": null}\n', b"{" * 5000 + b"\n"])
def test_a_damaged_line_of_the_log_is_left_out(tmp_path: Path, damage: bytes) -> None:
    whole = b'{"step": 1, "loss": 2.5}\n'
    (tmp_path / "metrics.jsonl").write_bytes(whole + damage + whole)
    assert folder_module.read_records(tmp_path / "metrics.jsonl") == [json.loads(whole)] * 2


def test_a_damaged_log_does_not_end_a_run(library: Path, cut_run: Path, tmp_path: Path) -> None:
    path = shutil.copytree(cut_run, tmp_path / "out.run") / "metrics.jsonl"
    path.write_bytes(b"\xff\xfe\n")
    train(library, tmp_path / "out", SETTINGS, shape=SHAPE, resume=True)
    assert log_of(tmp_path / "out")


#: Trains, and dies when a path is about to get its new content for the second time, as on systems without exchange.
DIES = """
import os, signal, sys
from pathlib import Path
import torch
from bertedge import scratch
from bertedge.train.pretrain import train
from bertedge.train.training_settings import ModelShape, TrainingSettings

torch.set_num_threads(1)
library, output, deadly = map(Path, sys.argv[1:4])
rename, times = os.rename, 0

def rename_or_die(source, target):
    global times
    if Path(target) == deadly:
        times += 1
        if times == 2:
            os.kill(os.getpid(), signal.SIGKILL)
    rename(source, target)

os.rename = rename_or_die
scratch._exchange = lambda one, other: False
settings = TrainingSettings(**eval(sys.argv[4]))
train(library, output, settings, shape=ModelShape(layers=1, hidden=32, vocab_size=200))
"""


@pytest.mark.parametrize(("deadly", "after"), [("cut.run/state", 2), ("cut", 7)])
def test_killed_between_two_renames(library: Path, whole: Path, tmp_path: Path, deadly: str, after: int) -> None:
    """A real SIGKILL where nothing stands under the name: the newest state and the newest checkpoint are found."""
    settings = replace(SETTINGS, save_minutes=1e-9)
    command = [sys.executable, "-c", DIES, library, tmp_path / "cut", tmp_path / deadly, asdict(settings)]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (tmp_path / deadly).exists()
    notes: list[str] = []
    train(library, tmp_path / "cut", settings, shape=SHAPE, resume=True, note=notes.append)
    assert f"continuing after step {after}" in notes
    assert_same_run(whole, tmp_path / "cut")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut"]


def test_what_killed_runs_left_is_cleared(library: Path, cut_run: Path, tmp_path: Path) -> None:
    """Next to the output, next to its run, and in it: half-written and half-removed files and folders."""
    shutil.copytree(cut_run, tmp_path / "out.run")
    names = [".out.{}", ".out.run.{}", "out.run/.state.{}", "out.run/.state.{}.old", ".mine.{}"]
    for number, name in enumerate(names):
        folder = tmp_path / name.format(f"{number:016x}")
        folder.mkdir()
        (folder / "half").write_text("x")
    seen: list[list[str]] = []

    def look(progress: Progress) -> None:
        seen.append(sorted(path.name for path in (tmp_path / "out.run").iterdir()))

    train(library, tmp_path / "out", SETTINGS, shape=SHAPE, resume=True, on_step=look)
    assert seen[0] == ["metrics.jsonl", "run.json", "state"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [f".mine.{4:016x}", "out"]


def test_a_run_that_starts_anew_says_so(library: Path, cut_run: Path, tmp_path: Path) -> None:
    shutil.rmtree(shutil.copytree(cut_run, tmp_path / "out.run") / "state")
    notes: list[str] = []
    train(library, tmp_path / "out", SETTINGS, shape=SHAPE, resume=True, note=notes.append)
    assert any("starts again" in note for note in notes)


def test_a_killed_run_with_a_checkpoint_hints_at_resume(library: Path, tmp_path: Path) -> None:
    """Its checkpoint is there already, but --force, which would replace it, would lose the run."""
    interrupted(library, tmp_path / "out", step=9)
    assert (tmp_path / "out" / "config.json").is_file()
    with pytest.raises(FileError, match="has an interrupted run") as caught:
        train(library, tmp_path / "out", SETTINGS, shape=SHAPE)
    assert caught.value.hint.startswith("continue it")
    assert "--resume" in caught.value.hint


@pytest.mark.parametrize("how", [{}, {"resume": True}, {"force": True}], ids=["", "resume", "force"])
def test_one_run_at_a_time(library: Path, whole: Path, tmp_path: Path, how: dict[str, bool]) -> None:
    """A second run on the same output is refused, and harms nothing."""
    refused: list[str] = []

    def second(progress: Progress) -> None:
        if progress.step == 5:
            with pytest.raises(FileError, match="another process is training there") as caught:
                train(library, tmp_path / "out", SETTINGS, shape=SHAPE, **how)
            refused.append(caught.value.hint)

    train(library, tmp_path / "out", replace(SETTINGS, save_minutes=1e-9), shape=SHAPE, on_step=second)
    assert refused
    assert_same_run(whole, tmp_path / "out")


def test_a_full_disk_costs_a_save_and_not_the_run(library: Path, whole: Path, tmp_path: Path) -> None:
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
    assert sum("will be tried again" in note for note in notes) >= 6
    assert_same_run(whole, tmp_path / "out")


def words(library: Path, output: Path, *extra: str) -> list[str]:
    """A training as it is typed."""
    command = ["train", library, "-o", output, "--layers", 1, "--hidden", 32, "--steps", 80]
    command += ["--set", "vocab_size=200", "--set", "batch_size=8", "--set", "max_length=32"]
    return [*map(str, command), "--set", "precision=float32", "--set", "held_out=0.2", *extra]


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "bertedge", *arguments],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
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
    whole = typed(*words(library, tmp_path / "whole"))
    assert whole.returncode == 0, whole.stderr
    cut = start(*words(library, tmp_path / "cut", "--set", "save_minutes=0.0000001"))
    wait_for(tmp_path / "cut.run" / "state", cut)
    cut.send_signal(signal.SIGKILL)
    assert cut.wait() == -signal.SIGKILL
    again = typed(*words(library, tmp_path / "cut", "--set", "save_minutes=1", "--resume"))
    assert again.returncode == 0, again.stderr
    assert "continuing after step" in again.stderr
    assert_same_run(tmp_path / "whole", tmp_path / "cut")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_saves_and_says_how_to_go_on(library: Path, tmp_path: Path, number: signal.Signals) -> None:
    process = start(*words(library, tmp_path / "out"))
    wait_for(tmp_path / "out.run" / "metrics.jsonl", process)
    process.send_signal(number)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert "Traceback" not in told
    assert "everything is saved" in told
    assert any(line.startswith("bertedge train") and line.endswith("--resume") for line in told.splitlines())
    assert (tmp_path / "out.run" / "state" / folder_module.TENSORS).is_file()
    again = typed(*words(library, tmp_path / "out", "--resume"))
    assert again.returncode == 0, again.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_flipped_bit_in_the_state_is_noticed(library: Path, tmp_path: Path) -> None:
    """torch itself reads on: it compares no checksums."""
    settings = replace(SETTINGS, save_minutes=1e-9)
    with pytest.raises(Killed):
        train(library, tmp_path / "out", settings, shape=SHAPE, on_step=killed_after(2))
    path = tmp_path / "out.run" / "state" / "state.pt"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    with pytest.raises(FileError, match=r"state\.pt: .* is damaged"):
        train(library, tmp_path / "out", settings, shape=SHAPE, resume=True)
