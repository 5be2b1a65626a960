"""What a recipe decides about a checkpoint on this machine, without making a bundle."""

from __future__ import annotations

from bertedge.checkpoint import Checkpoint
from bertedge.data.corpus import TokenizedCorpus
from bertedge.progress import no_progress
from bertedge.quantization.float_model import float_model
from bertedge.quantization.job import Decision, Job
from bertedge.quantization.methods import decide as method_decision
from bertedge.recipe import QuantizationRecipe
from bertedge.target import resolve_target


def decide(checkpoint: Checkpoint, recipe: QuantizationRecipe, corpus: TokenizedCorpus) -> Decision:
    """The formats and roundings of every layer."""
    with float_model(checkpoint) as in_float:
        job = Job(
            checkpoint=checkpoint,
            float_model=in_float,
            recipe=recipe,
            target=resolve_target("auto"),
            corpus=corpus,
            corpus_name="the calibration text",
            positions="masked",
            ranges=None,
            model_sha256="",
            calibration_sha256="",
            listen=no_progress,
        )
        return method_decision(job)
