"""What the scripts share: their arguments, a sample of a text, and the cells of their tables."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from bertedge.checkpoint import Checkpoint
from bertedge.data.batches import Layout
from bertedge.data.corpus import TokenizedCorpus, tokenize_corpus
from bertedge.evaluate.fidelity import evaluation_batches
from bertedge.evaluate.latency import Workload, interleave, paired_ratio, workload_batch
from bertedge.metric import MetricValue
from bertedge.predictor import Batch, Predictor

MAX_LENGTH = 128
METRICS = ("mlm.top1_agreement", "mlm.kl_mean", "nsp.flip_rate")


def arguments(script: str | None, *, examples: int, rounds: int | None = None) -> argparse.ArgumentParser:
    """MODEL, CORPUS, ``--examples`` and, where something is timed, ``--rounds``.

    Args:
        script: what ``--help`` says.
    """
    parser = argparse.ArgumentParser(description=script, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--examples", type=int, default=examples)
    if rounds is not None:
        parser.add_argument("--rounds", type=int, default=rounds)
    return parser


@dataclass(frozen=True, kw_only=True)
class Timed:
    """Latency of one model, in milliseconds, and as a ratio to another model that was timed in the same rounds."""

    ms: float
    ratio: MetricValue


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """A text as one model reads it: whole, and some pairs of it in batches."""

    corpus: TokenizedCorpus
    layout: Layout
    batches: list[Batch]

    @classmethod
    def of(cls, checkpoint: Checkpoint, text: Path, examples: int) -> Sample:
        """Pairs of at most ``MAX_LENGTH`` tokens, the same ones every time."""
        layout = Layout.of(checkpoint.tokenizer, checkpoint.config.vocab_size)
        corpus = tokenize_corpus(text, checkpoint.tokenizer)
        length = min(MAX_LENGTH, checkpoint.config.max_length)
        batches = evaluation_batches(corpus, layout, examples=examples, max_length=length, seed=0)
        return cls(corpus=corpus, layout=layout, batches=batches)

    def times(self, models: Sequence[Predictor], workload: Workload, *, rounds: int, to: int = 0) -> list[Timed]:
        """Latency of each model, and as a ratio to one of them, all interleaved."""
        batch = workload_batch(workload, self.corpus, self.layout)
        timings = interleave([partial(model.predict, batch) for model in models], rounds=rounds)
        return [
            Timed(ms=float(np.median(own.calls)), ratio=paired_ratio(own.blocks, timings[to].blocks)) for own in timings
        ]

    def ratios(self, models: Sequence[Predictor], workload: Workload, *, rounds: int, to: int = 0) -> list[MetricValue]:
        """The same, ratios alone."""
        return [timed.ratio for timed in self.times(models, workload, rounds=rounds, to=to)]


def show(value: MetricValue, digits: int = 4) -> str:
    """Value and interval."""
    return f"{value.value:.{digits}f} ({value.low:.{digits}f} to {value.high:.{digits}f})"
