"""What the commands and the report say of a model with one head only; no other head is named."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from typer.testing import CliRunner

from bertedge.benchmark import BenchSettings, bench
from bertedge.checkpoint import Checkpoint
from bertedge.cli.app import app
from bertedge.encoders import EncoderConfig, write_config
from bertedge.evaluate.latency import Workload
from bertedge.evaluate.study import Effort
from bertedge.heads import HEADS
from bertedge.heads.parts import HeadSettings, Parts
from bertedge.heads.sequence_settings import Classifier, SequenceSettings
from bertedge.heads.token_classification.tag_settings import TagSettings
from bertedge.report.html import html_report
from bertedge.report.render import markdown_report
from bertedge.report.summary import summary
from bertedge.tokenizer import Tokenizer
from tests.conftest import random_tensors

typed = CliRunner()
QUICK = BenchSettings(
    starts=1,
    examples=16,
    effort=Effort(rounds=2, max_rounds=2, seconds=0),
    grid=(Workload(batch_size=1, seq_len=8),),
    threads=1,
)
INTENTS = ("card_arrival", "lost_card", "exchange_rate")
TAGS = ("O", "B-ship", "I-ship")
CLASSIFIER = SequenceSettings(
    reads="pooler", classifiers=(Classifier(name="", owner="classifier", labels=INTENTS, problem="single"),)
)
#: Head -> settings and labels of its model, words of ``info``, and words of the report.
MODELS = {
    "sequence_classification": (CLASSIFIER, INTENTS, "one of 3 labels: card_arrival", "labels"),
    "token_classification": (
        TagSettings(labels=TAGS, owner="classifier"),
        TAGS,
        "for each token one of 3 labels: O",
        "tags",
    ),
}


@pytest.fixture(params=MODELS)
def made(request: pytest.FixtureRequest, config: EncoderConfig, tokenizer: Tokenizer, tmp_path: Path) -> Path:
    """A folder with a checkpoint ``float`` that has one head, and a bundle ``int8`` made of it."""
    head = request.param
    settings, labels, *_ = MODELS[head]
    parts = Parts((head,), settings=HeadSettings(**{head: settings}))
    folder = tmp_path / "float"
    folder.mkdir()
    save_file(random_tensors(config, parts), folder / "model.safetensors")
    tokenizer.save(folder)
    about = {"architectures": [f"Bert{HEADS[head].architecture}"], "id2label": dict(enumerate(labels))}
    (folder / "config.json").write_text(json.dumps(write_config(config) | about))
    assert Checkpoint.read(folder).heads == (head,)
    (tmp_path / "head").write_text(head)
    return tmp_path


def other_heads_in(text: str, head: str) -> list[str]:
    """What a text names although the model does not have it, with the text before it."""
    names = [name for name in ("mlm", "nsp", "masked", *MODELS) if name != head]
    return re.findall(rf".{{0,80}}\b(?:{'|'.join(names)})\b", text, flags=re.IGNORECASE)


def test_a_model_with_one_head(made: Path, corpus_file: Path) -> None:
    head, bundle = (made / "head").read_text(), str(made / "int8")
    _, _, labels, loss = MODELS[head]
    told = typed.invoke(
        app, ["quantize", str(made / "float"), "-o", bundle, "--calibration", str(corpus_file), "--examples", "8"]
    ).output
    assert f" {HEADS[head].answers} are float's" in told
    for command in (["info", bundle], ["info", str(made / "float")], ["verify", bundle]):
        said = typed.invoke(app, command)
        assert said.exit_code == 0, said.output
        told += said.output
    assert " ".join(told.split()).count(labels) == 2
    report = bench([bundle], reference=made / "float", corpus=corpus_file, settings=QUICK)
    (candidate,) = report.candidates
    assert not np.isnan(candidate.fidelity[HEADS[head].main_metric].value)
    assert loss in summary(report)[0]
    pages = html_report(report) + markdown_report(report)
    assert HEADS[head].main_metric in pages
    assert "hidden.cosine_mean" in candidate.fidelity  # but nobody reads a classifier's states
    assert not re.search(r"\b(embedding|hidden|pooler)\.", pages)
    assert all(HEADS[head].lists[name] in pages for name in candidate.disagreements)
    for text in (told, pages):
        assert other_heads_in(text, head) == []
