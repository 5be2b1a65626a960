"""Make a bundle: plan, graph, file, golden vectors, manifest; whole or not at all."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from bertedge.bundle import SENSITIVITY, Bundle
from bertedge.checkpoint import Checkpoint, open_checkpoint
from bertedge.checkpoint.trim import trim_to_text
from bertedge.data.calibration import default_text, text_warnings
from bertedge.data.corpus import TokenizedCorpus
from bertedge.data.held_out import hold_out
from bertedge.engines.onnxruntime.cpu_check import require_correct_here
from bertedge.evaluate.goals import Goal, require_measurable
from bertedge.files import new_folder
from bertedge.graph.writer import Positions
from bertedge.manifest import MANIFEST
from bertedge.progress import Listener, no_progress
from bertedge.quantization.calibrate import about_reading
from bertedge.quantization.float_model import float_model
from bertedge.quantization.job import Decision
from bertedge.quantization.maker import Maker
from bertedge.quantization.methods import decide, decider_of
from bertedge.quantization.model_files import format_named
from bertedge.quantization.one_thread import one_blas_thread
from bertedge.quantization.promote import HELD_OUT, Promotion, promote
from bertedge.quantization.reasons import layer_reasons
from bertedge.quantization.result_cache import Cache
from bertedge.quantization.sensitivity import Sensitivity, Trials, measure_layers
from bertedge.recipe import QuantizationRecipe, require_examples
from bertedge.records import write_json
from bertedge.scratch import temporary_folder
from bertedge.target import AUTO, PORTABLE, TargetProfile, resolve_target

_log = logging.getLogger(__name__)


def export(
    model: str | Path | Checkpoint,
    output: str | Path,
    *,
    positions: Positions = "masked",
    format: str = "onnx",
    keep_vocab: int | None = None,
    vocab_corpus: str | Path | None = None,
    cased: bool | None = None,
    force: bool = False,
    listen: Listener = no_progress,
) -> Bundle:
    """Write a float32 bundle.

    Args:
        model: a checkpoint, its folder, a built-in name or a hub id.
        positions: ``masked``, or ``all`` for the ecosystem's input and output names.
        format: ``onnx``, or ``ort`` for onnxruntime's minimal builds.
        keep_vocab: keep only this many tokens of the vocabulary, those that a text uses most.
        vocab_corpus: that text; default: the one that ships with bertedge.
        cased: whether the tokenizer keeps capital letters; default: what its files say.

    Raises:
        CheckpointError: the checkpoint does not make a BERT.
        CorpusError: the text for the vocabulary holds nothing.
        FileError: the output is there already, or cannot be written.
        UsageError: the vocabulary cannot have that many tokens.
    """
    output = Path(output)
    checkpoint, about_vocab = _opened(model, cased, keep_vocab, vocab_corpus or default_text())
    with new_folder(output, force=force, marker=MANIFEST) as folder, float_model(checkpoint) as in_float:
        maker = Maker(checkpoint, in_float, folder, positions, format, listen)
        decision = Decision(plan={}, warnings=about_vocab)
        _log.info("exporting %s to %s", checkpoint.name, output)
        maker.make(decision, recipe=None, target=resolve_target(PORTABLE), row_independent=True)
    return Bundle.open(output, check=False)


def quantize(
    model: str | Path | Checkpoint,
    output: str | Path,
    *,
    target: str = AUTO,
    recipe: QuantizationRecipe | None = None,
    calibration: str | Path | None = None,
    ranges: str | Path | None = None,
    positions: Positions = "masked",
    format: str = "onnx",
    goals: Collection[Goal] = (),
    promoted: Mapping[str, str] | None = None,
    cache: Cache | None = None,
    keep_vocab: int | None = None,
    vocab_corpus: str | Path | None = None,
    cased: bool | None = None,
    force: bool = False,
    listen: Listener = no_progress,
) -> Bundle:
    """Write an int8 bundle.

    Args:
        model: a checkpoint, its folder, a built-in name or a hub id.
        target: a name in ``bertedge.target.TARGETS``, or ``auto`` for this machine; for ``portable`` with ``ort``.
        calibration: text for the ranges and the golden vectors; default: the one that ships with bertedge.
        ranges: a bundle, or its ``ranges.json``, whose ranges are used instead of new ones.
        positions, format, keep_vocab, cased: see :func:`export`.
        vocab_corpus: text for the vocabulary; default: that of the calibration.
        goals: losses that are allowed. A part of the calibration text is kept back and they are measured on it; where
            they are too large, layers are promoted to finer formats until they are not. The bundle is written either
            way, and its manifest's ``goals`` say what was reached.
        promoted: layers that the recipe makes finer because of what was measured, each with that in words.
        cache: results of earlier calls with the same model, calibration text and target.

    Raises:
        CheckpointError: the checkpoint does not make a BERT.
        CorpusError: there is no text to calibrate with.
        FileError: the output is there already, or cannot be written; the ranges cannot be read.
        UsageError: unknown target, format or excluded layer; ranges that were made for another model; a target on which
            a minimal build would be wrong; a vocabulary that cannot have that many tokens; a goal for a head that is
            not there.
        UnfitMachineError: goals for a target whose bundles are not right on this CPU.
    """
    recipe = recipe or QuantizationRecipe()
    require_examples(getattr(recipe.method, "num_examples", 1))
    if goals and not recipe.held_out:
        recipe = replace(recipe, held_out=HELD_OUT)
    profile = resolve_target(target, minimal_build=format_named(format).minimal_build)
    decider = decider_of(recipe.method)
    row_independent = decider.row_independent
    output = Path(output)
    checkpoint, about_vocab = _opened(model, cased, keep_vocab, vocab_corpus or calibration or default_text())
    with (
        new_folder(output, force=force, marker=MANIFEST) as folder,
        float_model(checkpoint) as in_float,
        one_blas_thread(),
    ):
        maker = Maker(checkpoint, in_float, folder, positions, format, listen, calibration)
        _log.info("quantizing %s to %s: target %s, text %s", checkpoint.name, output, profile.name, maker.text)
        job = maker.job(recipe, profile, ranges, cache or Cache())
        about_text = (*text_warnings(job.corpus, checkpoint.tokenizer, job.corpus_name), *about_reading(job))
        judged_on = _text_for_goals(maker, recipe, profile, goals) if goals else None
        decision = decide(job)
        promotion = Promotion(recipe=recipe, decision=decision, promoted=dict(promoted or {}))
        if judged_on is not None:
            with temporary_folder() as scratch:
                trials = Trials(job=job, decision=decision, row_independent=row_independent, scratch=scratch)
                promotion = promote(trials, goals, judged_on)
        if promotion.sensitivity is not None:
            write_json(folder / SENSITIVITY, promotion.sensitivity)
        maker.make(
            replace(promotion.decision, warnings=(*about_vocab, *about_text, *promotion.decision.warnings)),
            recipe=promotion.recipe,
            target=profile,
            row_independent=row_independent,
            reasons=layer_reasons(job, promotion.decision, promotion.promoted),
            goals=promotion.goals,
            packed=decider.depends_on_packing,
        )
    return Bundle.open(output, check=False)


def _text_for_goals(
    maker: Maker, recipe: QuantizationRecipe, target: TargetProfile, goals: Collection[Goal]
) -> TokenizedCorpus:
    """The part of the calibration text that goals are measured on.

    Raises:
        UnfitMachineError: bundles for this target are not right on this CPU.
        UsageError: a goal for what the model, or the text, does not have.
    """
    if recipe.method.may_overflow:
        require_correct_here(target.name)
    text, model = hold_out(maker.corpus, recipe.held_out)[1], maker.checkpoint
    require_measurable(goals, model.parts, pairs=text.why_no_pairs is None, name=model.name)
    return text


def sensitivity(
    model: str | Path | Checkpoint,
    *,
    target: str = "auto",
    recipe: QuantizationRecipe | None = None,
    calibration: str | Path | None = None,
    cache: Cache | None = None,
    listen: Listener = no_progress,
) -> Sensitivity:
    """What each layer of a recipe loses, and what finer formats would save and cost; arguments as for ``quantize``."""
    recipe = recipe or QuantizationRecipe()
    checkpoint = model if isinstance(model, Checkpoint) else open_checkpoint(model)
    with temporary_folder() as scratch, float_model(checkpoint) as in_float, one_blas_thread():
        maker = Maker(checkpoint, in_float, scratch, "masked", "onnx", listen, calibration)
        job = maker.job(recipe, resolve_target(target), None, cache or Cache())
        row_independent = decider_of(recipe.method).row_independent
        trials = Trials(job=job, decision=decide(job), row_independent=row_independent, scratch=scratch)
        return measure_layers(trials)


def _opened(
    model: str | Path | Checkpoint, cased: bool | None, keep_vocab: int | None, text: str | Path
) -> tuple[Checkpoint, tuple[str, ...]]:
    """The checkpoint, with a smaller vocabulary if that is asked for, and a sentence about it."""
    checkpoint = model if isinstance(model, Checkpoint) else open_checkpoint(model)
    if cased is not None:
        checkpoint = replace(checkpoint, cased=cased)
    if keep_vocab is None:
        return checkpoint, ()
    size = checkpoint.config.vocab_size
    checkpoint, trim = trim_to_text(checkpoint, keep_vocab, Path(text))
    kept = f"keeps {trim.tokens:,} of {size:,} tokens, {100 * trim.coverage:.1f} % of those in {Path(text).name}"
    return checkpoint, (f"{kept}; other words are spelt with them",)
