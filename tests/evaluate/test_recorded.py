"""A recorded reference sees what a running one sees."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bertedge.bundle import Bundle
from bertedge.data.batches import Layout
from bertedge.data.corpus import tokenize_corpus
from bertedge.data.held_out import drawn_sample
from bertedge.evaluate import recorded
from bertedge.evaluate.bootstrap import estimate, estimate_all
from bertedge.evaluate.fidelity import evaluation_batches, measure_fidelity
from bertedge.evaluate.metrics import METRICS
from bertedge.evaluate.recorded import Recorded
from bertedge.heads.embedding.vector_quantities import FEWEST_TEXTS
from bertedge.predictor import Batch
from bertedge.runtime import BertRuntime, load


@pytest.fixture
def models(bundle_of: Callable[..., Bundle]) -> list[BertRuntime]:
    return [load(bundle_of(kind).folder) for kind in ("float32", "static", "faithful")]


@pytest.fixture
def batches(models: list[BertRuntime], corpus_file: Path) -> list[Batch]:
    corpus = tokenize_corpus(corpus_file, models[0].tokenizer)
    layout = Layout.of(models[0].tokenizer, models[0].bundle.config.vocab_size)
    pairs = evaluation_batches(corpus, layout, examples=20, max_length=48, seed=0, batch_size=4)
    return [*pairs, *drawn_sample(corpus, layout, examples=FEWEST_TEXTS, max_length=48, seed=0, pairs=None)]


@pytest.mark.parametrize("max_bytes", [2**30, 0])
def test_the_same_numbers_as_side_by_side(
    models: list[BertRuntime], batches: list[Batch], max_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorded, "MAX_KEPT_BYTES", max_bytes)
    reference, *candidates = models
    sample = Recorded(reference, batches, tmp_path)
    assert bool(list(tmp_path.iterdir())) == bool(max_bytes)
    for candidate, expected in zip(candidates, measure_fidelity(reference, candidates, batches), strict=True):
        seen = sample.observe(candidate)
        values = estimate_all(seen)
        left_out = {name for name in METRICS if name.startswith("hidden.")} | {"mlm.top5_agreement"}
        assert values.keys() == METRICS.keys() & expected.keys() - left_out
        for name in values:
            assert values[name].value == pytest.approx(expected[name].value, abs=2e-6), name
            assert values[name].n == expected[name].n
            assert estimate(name, seen) == pytest.approx(values[name].value, abs=1e-12)
    assert values["mlm.kl_mean"].value > 0


def test_another_model_may_be_the_judge_of_hits(
    models: list[BertRuntime], batches: list[Batch], tmp_path: Path
) -> None:
    teacher, student, _ = models
    (tmp_path / "teacher").mkdir()
    (tmp_path / "student").mkdir()
    judge = Recorded(teacher, batches, tmp_path / "teacher").itself()
    sample = Recorded(student, batches, tmp_path / "student")
    own, judged = sample.observe(student), sample.observe(student, judge=judge)
    assert estimate("mlm.kl_mean", judged) == pytest.approx(0, abs=1e-6)
    assert estimate("mlm.top1_accuracy_drop", own) == 0
    expected = np.mean(judge.groups["mlm"].values["hit"]) - np.mean(own.groups["mlm"].values["hit"])
    assert estimate("mlm.top1_accuracy_drop", judged) == pytest.approx(expected)
