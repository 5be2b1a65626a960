"""What a recipe decides about a checkpoint on this machine, without making a bundle."""

from __future__ import annotations

from bertedge.checkpoint import Checkpoint
from bertedge.data.text_source import read_text
from bertedge.progress import no_progress
from bertedge.quantization.float_model import float_model
from bertedge.quantization.job import Decision, Job
from bertedge.quantization.methods import decide as method_decision
from bertedge.recipe import QuantizationRecipe
from bertedge.target import resolve_target


def decide(checkpoint: Checkpoint, recipe: QuantizationRecipe) -> Decision:
    """The formats and roundings of every layer, from the built-in calibration text."""
    size = checkpoint.config.vocab_size
    text = read_text(None, checkpoint.tokenizer, checkpoint.parts, vocab_size=size)
    with float_model(checkpoint) as in_float:
        job = Job(
            checkpoint=checkpoint,
            float_model=in_float,
            recipe=recipe,
            target=resolve_target("auto"),
            text=text,
            positions="masked",
            ranges=None,
            model_sha256="",
            calibration_sha256="",
            listen=no_progress,
        )
        return method_decision(job)
