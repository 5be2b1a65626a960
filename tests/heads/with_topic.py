"""A model with a head that bertedge does not have, from its checkpoint to a report.

The table has the head in every process that ``test_new_head.py`` starts.
"""

from __future__ import annotations

import sys
from pathlib import Path

from bertedge.benchmark import BenchSettings, bench
from bertedge.checkpoint import Checkpoint, write_checkpoint
from bertedge.cli.app import run
from bertedge.evaluate.goals import Goal
from bertedge.evaluate.latency import Workload
from bertedge.evaluate.study import Effort
from bertedge.heads.parts import Parts
from bertedge.quantization import quantize
from bertedge.report.budget import DEFAULTS
from bertedge.report.html import html_report
from bertedge.report.summary import summary
from bertedge.runtime import load
from bertedge.runtime.verify import verify
from tests.conftest import random_tensors
from tests.heads.topic import AGREEMENT, TOPICS

QUICK = BenchSettings(
    starts=1,
    examples=16,
    effort=Effort(rounds=2, max_rounds=2, seconds=0),
    grid=(Workload(batch_size=1, seq_len=8),),
    threads=1,
)


def main(model: Path, corpus: Path, folder: Path) -> None:
    """Make the checkpoint, quantize, verify, use and measure it."""
    tiny = Checkpoint.read(model)
    float_model = folder / "float"
    float_model.mkdir()
    write_checkpoint(float_model, tiny.config, random_tensors(tiny.config, Parts(("topic",))), tiny.tokenizer)
    checkpoint = Checkpoint.read(float_model)
    assert checkpoint.parts == Parts(("topic",), pooler=True)
    assert not checkpoint.left_out
    bundle = quantize(
        float_model, folder / "int8", calibration=corpus, goals=(Goal(option="min_topic_agreement", bound=0.5),)
    )
    assert bundle.manifest.heads == ("topic",)
    assert bundle.manifest.goals["min_topic_agreement"].met
    assert "topic_logits" in bundle.manifest.outputs
    runtime = load(bundle.folder, threads=1)
    assert verify(runtime).passed
    assert runtime.topic("The cat sat on the mat.") in TOPICS  # type: ignore[attr-defined]
    run(["topic", str(bundle.folder), "The cat sat on the mat."])
    report = bench([bundle.folder], reference=float_model, corpus=corpus, settings=QUICK)
    (candidate,) = report.candidates
    assert candidate.fidelity[AGREEMENT].n == 16
    assert AGREEMENT in DEFAULTS
    (case, *_) = candidate.disagreements["topic.texts"]
    assert {answer.text for answer in case.candidate} == set(TOPICS)
    page = html_report(report)
    assert "Topics: 5" in page
    assert page.count('<article class="case">') == 5
    print(*summary(report))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
