"""A few texts with the float model's outputs, to measure fidelity on emulated CPUs, which take seconds per text."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bertedge.benchmark import float_reference, require_one_vocabulary
from bertedge.data.batches import Layout
from bertedge.data.calibration import default_text
from bertedge.data.corpus import tokenize_corpus
from bertedge.engines.threads import usable_cpus
from bertedge.evaluate.fidelity import compare_outputs, evaluation_batches, kinds_of_texts
from bertedge.metric import MetricValue
from bertedge.predictor import Batch, Outputs
from bertedge.recipe import require_examples
from bertedge.runtime import BertRuntime
from bertedge.scratch import temporary_folder

MAX_LENGTH = 128
SEED = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """Batches, the float model's outputs of each, and how vectors are pooled."""

    batches: tuple[Batch, ...]
    expected: tuple[Outputs, ...]
    settings: Any

    def fidelity(self, outputs: tuple[Outputs, ...]) -> dict[str, MetricValue]:
        """The fidelity metrics of other outputs on these batches."""
        return compare_outputs(self.batches, self.expected, outputs, settings=self.settings)


def draw_sample(candidate: BertRuntime, reference: str | Path, corpus: Path | None, examples: int) -> Sample:
    """Draw texts of each kind that the model reads, and run the float model on them on this machine.

    Args:
        reference: a checkpoint, or a float32 bundle.
        corpus: text to draw from; default: the built-in text.

    Raises:
        UsageError: the candidate was made of another model.
        BertEdgeError: the reference or the corpus cannot be read.
    """
    require_examples(examples)
    with temporary_folder() as scratch:
        model = float_reference(reference, scratch, usable_cpus())
        require_one_vocabulary([model, candidate])
        config = model.bundle.config
        text = tokenize_corpus(corpus or default_text(), model.tokenizer)
        batches = [
            replace(batch, hidden=True)
            for kind in kinds_of_texts(model.bundle.manifest.parts, text)
            for batch in evaluation_batches(
                text,
                Layout.of(model.tokenizer, config.vocab_size),
                examples=examples,
                max_length=min(MAX_LENGTH, config.max_length),
                seed=SEED,
                kind=kind,
            )
        ]
        return Sample(
            batches=tuple(batches),
            expected=tuple(model.predict(batch) for batch in batches),
            settings=model.bundle.head_settings,
        )
