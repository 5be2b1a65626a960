"""Every model is trained with the heads that it has, and a head that the text cannot teach is not spoiled."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from bertedge.checkpoint import Checkpoint, write_checkpoint
from bertedge.cli.train_command import _line
from bertedge.encoders import EncoderConfig
from bertedge.errors import CheckpointError, UsageError
from bertedge.heads.parts import Parts
from bertedge.tokenizer import Tokenizer
from bertedge.train.curve import draw_curve
from bertedge.train.distill import distill
from bertedge.train.folder import log_of
from bertedge.train.head_plan import plan_heads
from bertedge.train.loop import Progress
from bertedge.train.model import BertForPreTraining
from bertedge.train.pretrain import train
from bertedge.train.training_settings import DistillationSettings, ModelShape, TrainingSettings
from tests.conftest import random_tensors

SETTINGS = TrainingSettings(steps=4, batch_size=8, max_length=32, learning_rate=3e-3, precision="float32")
SHAPE = ModelShape(layers=1, hidden=16, vocab_size=200)
NSP = ("pooler.", "cls.seq_relationship.")
#: Heads that published encoders come with.
KINDS = [
    Parts(("mlm", "nsp")),
    Parts(("mlm",), pooler=True),
    Parts(("mlm",)),
    Parts(("mlm",), tied=False),
    Parts(("nsp",)),
    Parts(pooler=True),
    Parts(),
]


def named(parts: object) -> str | None:
    """For folders and names of tests."""
    if not isinstance(parts, Parts):
        return None
    words = [*parts.heads, *["pooler"] * parts.pooler, *["untied"] * (not parts.tied)]
    return "-".join(words) or "bare"


@pytest.fixture(scope="session")
def model_with(
    tmp_path_factory: pytest.TempPathFactory, config: EncoderConfig, tokenizer: Tokenizer
) -> Callable[[Parts], Path]:
    """A checkpoint with the heads that are asked for."""
    root = tmp_path_factory.mktemp("heads")

    def make(heads: Parts) -> Path:
        folder = root / str(named(heads))
        if not folder.is_dir():
            folder.mkdir()
            write_checkpoint(folder, config, random_tensors(config, heads), tokenizer)
        return folder

    return make


@pytest.fixture(scope="session")
def tweets(tmp_path_factory: pytest.TempPathFactory, library: Path) -> Path:
    """The sentences of the library, each a document."""
    path = tmp_path_factory.mktemp("tweets") / "tweets.txt"
    path.write_text("\n\n".join(line for line in library.read_text().splitlines() if line))
    return path


def weights_of(folder: Path) -> dict[str, np.ndarray]:
    return dict(Checkpoint.read(folder).tensors())


def told_by(folder: Path) -> dict[str, str]:
    told: dict[str, str] = json.loads((folder / "training.json").read_text())["heads"]
    return told


def test_documents_of_one_sentence_leave_the_next_sentence_head_as_it_was(
    model_folder: Path, tweets: Path, tmp_path: Path
) -> None:
    notes: list[str] = []
    done = train(tweets, tmp_path / "out", SETTINGS, init=model_folder, note=notes.append)
    before, after = weights_of(model_folder), weights_of(tmp_path / "out")
    for name in before:
        assert np.array_equal(before[name], after[name]) == name.startswith(NSP), name
    assert "nsp" not in done.accuracies
    assert any("next sentences (nsp) are not trained" in note for note in notes)
    assert told_by(tmp_path / "out")["mlm"] == "trained"
    assert told_by(tmp_path / "out")["nsp"].startswith("kept unchanged: tweets.txt has one sentence in every document")
    records = log_of(tmp_path / "out")
    assert {r["nsp_accuracy"] for r in records if "loss" in r} == {None}
    assert {r["held_out_nsp_accuracy"] for r in records if "held_out_loss" in r} == {None}


@pytest.mark.parametrize(("longer", "trained"), [(2, False), (200, True)])
def test_mostly_documents_of_one_sentence(
    library: Path, tweets: Path, model_folder: Path, tmp_path: Path, longer: int, trained: bool
) -> None:
    """Next sentences are learned from the documents that have them, unless those are hardly any."""
    lines = tweets.read_text().replace("\n\n", "\n").splitlines()
    pairs = [f"{one}\n{other}" for one, other in pairwise(lines)]
    (tmp_path / "mixed.txt").write_text("\n\n".join([*lines * 4, *(pairs * 2)[:longer]]))
    done = train(tmp_path / "mixed.txt", tmp_path / "out", SETTINGS, init=model_folder)
    assert ("nsp" in done.accuracies) == trained
    assert told_by(tmp_path / "out")["nsp"].startswith("trained" if trained else "kept unchanged: mixed.txt has a next")


def test_a_new_model_has_no_head_that_nothing_teaches(tweets: Path, tmp_path: Path) -> None:
    notes: list[str] = []
    train(tweets, tmp_path / "out", SETTINGS, shape=SHAPE, note=notes.append)
    assert Checkpoint.read(tmp_path / "out").parts == Parts(("mlm",))
    assert any("the head is left out: tweets.txt has one sentence" in note for note in notes)


@pytest.mark.parametrize("heads", KINDS, ids=named)
def test_every_teacher_is_distilled(
    library: Path, model_with: Callable[[Parts], Path], tmp_path: Path, heads: Parts
) -> None:
    settings = replace(SETTINGS, held_out=0.2, evaluations=2)
    done = distill(model_with(heads), library, tmp_path / "out", settings, shape=SHAPE)
    assert np.isfinite(done.loss)
    student = Checkpoint.read(tmp_path / "out")
    assert student.parts == Parts(heads.heads)
    told = told_by(tmp_path / "out")
    assert [head for head in told if told[head] == "trained"] == [*heads.heads]
    assert ("pooler" in told) == (heads.pooler and "nsp" not in heads.heads)
    (*_, last) = [record for record in log_of(tmp_path / "out") if "held_out_loss" in record]
    assert last["held_out_loss"] > 0  # of a bare encoder, the distance of its hidden states from its teacher's
    assert (last["held_out_mlm_accuracy"] is not None) == ("mlm" in heads.heads)


@pytest.mark.parametrize("heads", KINDS, ids=named)
def test_every_checkpoint_goes_on(
    library: Path, model_with: Callable[[Parts], Path], tmp_path: Path, heads: Parts
) -> None:
    start = model_with(heads)
    if not heads.heads:
        with pytest.raises(CheckpointError, match="has no head to train") as caught:
            train(library, tmp_path / "out", SETTINGS, init=start)
        assert "--add-head mlm" in caught.value.hint
        assert [path.name for path in tmp_path.iterdir()] == []
        return
    train(library, tmp_path / "out", SETTINGS, init=start)
    assert Checkpoint.read(tmp_path / "out").parts == Checkpoint.read(start).parts
    before, after = weights_of(start), weights_of(tmp_path / "out")
    kept = {name for name in before if np.array_equal(before[name], after[name])}
    assert kept == ({name for name in before if name.startswith(NSP)} if "nsp" not in heads.heads else set())


@pytest.mark.parametrize(
    ("heads", "add"),
    [
        (Parts(), ("mlm",)),
        (Parts(), ("mlm", "nsp")),
        (Parts(pooler=True), ("nsp",)),
        (Parts(("mlm",)), ("mlm", "nsp")),
        (Parts(("nsp",)), ("mlm",)),
    ],
)
def test_a_missing_head_is_added(
    library: Path,
    model_with: Callable[[Parts], Path],
    tmp_path: Path,
    heads: Parts,
    add: tuple[str, ...],
) -> None:
    for name, run in (("train", train), ("distill", distill)):
        output, settings = tmp_path / name, replace(SETTINGS, steps=3)
        notes: list[str] = []
        if run is train:
            train(library, output, settings, init=model_with(heads), add_heads=add, note=notes.append)
        else:
            distill(model_with(heads), library, output, settings, shape=SHAPE, add_heads=add, note=notes.append)
        assert set(add) <= set(Checkpoint.read(output).heads)
        told = told_by(output)
        for head in add:
            assert told[head] == ("trained" if head in heads.heads else "added and trained")
        assert sum("is added with new weights" in note for note in notes) == len(set(add) - set(heads.heads))


def test_a_head_that_the_text_cannot_teach_is_not_added(
    tweets: Path, model_with: Callable[[Parts], Path], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="--add-head nsp: tweets.txt has one sentence in every document"):
        train(tweets, tmp_path / "out", SETTINGS, init=model_with(Parts(("mlm",))), add_heads=["nsp"])
    with pytest.raises(UsageError, match="nothing can be trained"):
        train(tweets, tmp_path / "out", SETTINGS, init=model_with(Parts(("nsp",))))
    nothing = DistillationSettings(hidden_weight=0.0)
    with pytest.raises(CheckpointError, match="has no head to train"):
        distill(model_with(Parts()), tweets, tmp_path / "out", SETTINGS, shape=SHAPE, distillation=nothing)
    answers = DistillationSettings(labels_weight=0.0)
    with pytest.raises(UsageError, match="--add-head mlm: its loss has no weight"):
        distill(model_with(Parts()), tweets, tmp_path / "out", SETTINGS, add_heads=["mlm"], distillation=answers)


def test_heads_that_are_there_come_out_as_they_are() -> None:
    plan = plan_heads(Parts(("mlm",), pooler=True, tied=False), (), {"nsp": "why not"})
    assert plan.parts == Parts(("mlm",), pooler=True, tied=False)
    assert (plan.tasks, plan.decisions) == (("mlm",), {"mlm": "trained"})
    assert plan_heads(Parts(("mlm", "nsp")), (), {"nsp": "why not"}, fresh=True).parts == Parts(("mlm",))


def test_a_student_without_heads_is_nearer_to_its_teacher(
    library: Path, model_with: Callable[[Parts], Path], tmp_path: Path
) -> None:
    settings = replace(SETTINGS, steps=24, held_out=0.2, evaluations=3)
    distill(model_with(Parts()), library, tmp_path / "out", settings, shape=replace(SHAPE, hidden=32))
    losses = [r["held_out_loss"] for r in log_of(tmp_path / "out") if "held_out_loss" in r]
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("heads", [Parts(("mlm",)), Parts(("nsp",)), Parts()], ids=named)
def test_transformers_reads_what_is_written(
    library: Path, model_with: Callable[[Parts], Path], tmp_path: Path, heads: Parts
) -> None:
    """Under the class that config.json names, with no tensor missing and none left over, and the same outputs."""
    transformers = pytest.importorskip("transformers")
    distill(model_with(heads), library, tmp_path / "out", replace(SETTINGS, steps=1), shape=SHAPE)
    (architecture,) = json.loads((tmp_path / "out" / "config.json").read_text())["architectures"]
    options = {} if heads.heads else {"add_pooling_layer": False}
    theirs, info = getattr(transformers, architecture).from_pretrained(
        tmp_path / "out", output_loading_info=True, **options
    )
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    ours = BertForPreTraining.from_checkpoint(Checkpoint.read(tmp_path / "out")).eval()
    ids = torch.arange(5, 17)[None]
    with torch.no_grad():
        got = ours(ids, None, torch.zeros_like(ids), torch.arange(ids.numel()))
        expected = theirs.eval()(ids, output_hidden_states=True)
    torch.testing.assert_close(got.hidden_states[-1], expected.hidden_states[-1], rtol=1e-4, atol=1e-5)
    if "mlm" in got.logits:
        torch.testing.assert_close(got.logits["mlm"], expected.logits[0], rtol=1e-4, atol=1e-4)
    if "nsp" in got.logits:
        torch.testing.assert_close(got.logits["nsp"], expected.logits, rtol=1e-4, atol=1e-4)


def test_the_line_of_a_run_has_no_numbers_of_heads_that_are_not_trained() -> None:
    done = Progress(step=3, loss=1.5, accuracies={"mlm": 0.25}, tokens=100, elapsed_s=2.0)
    assert _line(done) == "step 3 loss 1.500 mlm 0.250 50 tokens/s"
    assert _line(replace(done, accuracies={"nsp": 0.5})) == "step 3 loss 1.500 nsp 0.500 50 tokens/s"
    assert _line(replace(done, accuracies={})) == "step 3 loss 1.500 50 tokens/s"


def test_a_picture_of_a_run_without_next_sentences(tmp_path: Path) -> None:
    record = {"step": 10, "loss": 2.0, "mlm_accuracy": 0.5, "nsp_accuracy": None, "learning_rate": 1e-3}
    draw_curve([record, {**record, "step": 20}], tmp_path / "curve.svg", "out: training")
    assert "<!-- NSP accuracy: not trained -->" in (tmp_path / "curve.svg").read_text(encoding="utf-8")
