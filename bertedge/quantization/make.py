"""Make a bundle: plan, graph, files, golden vectors, manifest. The folder appears complete or not at all."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bertedge.bundle import SENSITIVITY, Bundle
from bertedge.checkpoint import Checkpoint, open_checkpoint
from bertedge.checkpoint.trim import trim_to_text
from bertedge.data.calibration import default_text
from bertedge.data.text_source import TextSource
from bertedge.engines.onnxruntime.cpu_check import require_correct_here
from bertedge.evaluate.goals import Goal, require_measurable
from bertedge.files import new_folder
from bertedge.graph.writer import Positions
from bertedge.manifest import MANIFEST
from bertedge.progress import Listener, no_progress
from bertedge.quantization.calibrate import about_reading
from bertedge.quantization.float_model import float_model
from bertedge.quantization.job import Decision, Job
from bertedge.quantization.maker import Maker
from bertedge.quantization.methods import decide
from bertedge.quantization.model_files import format_named
from bertedge.quantization.one_thread import one_blas_thread
from bertedge.quantization.promote import HELD_OUT, Promotion, promote
from bertedge.quantization.reasons import layer_reasons
from bertedge.quantization.result_cache import Cache
from bertedge.quantization.sensitivity import Sensitivity, Trials, measure_layers
from bertedge.recipe import QuantizationRecipe, require_examples
from bertedge.records import write_json
from bertedge.scratch import temporary_folder
from bertedge.target import AUTO, PORTABLE, resolve_target

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
        keep_vocab: number of tokens to keep in the vocabulary: those that a text uses most. Default: all.
        vocab_corpus: the text for ``keep_vocab``; default: the text that ships with bertedge.
        cased: whether the tokenizer keeps capital letters; default: the setting in its files.

    Raises:
        CheckpointError: the checkpoint is not a supported encoder.
        CorpusError: the text for the vocabulary is empty.
        FileError: the output exists or cannot be written.
        UsageError: ``keep_vocab`` is too small or larger than the vocabulary.
    """
    output = Path(output)
    checkpoint, about_vocab = _opened(model, cased, keep_vocab, vocab_corpus or default_text())
    with new_folder(output, force=force, marker=MANIFEST) as folder, float_model(checkpoint) as in_float:
        maker = Maker(checkpoint, in_float, folder, positions, format, listen)
        decision = Decision(plan={}, warnings=about_vocab)
        _log.info("exporting %s to %s", checkpoint.name, output)
        maker.make(decision, recipe=None, target=resolve_target(PORTABLE))
    return Bundle.open(output, check=False)


def quantize(
    model: str | Path | Checkpoint,
    output: str | Path,
    *,
    target: str = AUTO,
    recipe: QuantizationRecipe | None = None,
    calibration: str | Path | None = None,
    columns: Sequence[str] = (),
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
    """Write a quantized bundle.

    Args:
        model: a checkpoint, its folder, a built-in name or a hub id.
        target: a name in ``bertedge.target.TARGETS``; ``auto`` for this machine, or for ``portable`` with ``ort``.
        calibration: text for the ranges and the golden vectors; default: the built-in text.
        columns: the columns of that file that hold texts, if it has others than usual names; see
            :func:`bertedge.data.examples.read_examples`.
        ranges: a bundle or its ``ranges.json``; its ranges are used instead of new ones.
        positions, format, keep_vocab, cased: see :func:`export`.
        vocab_corpus: text for the vocabulary; default: the calibration text.
        goals: allowed losses, measured on a part of the calibration text that is held out. Where a loss is too large,
            layers get finer formats. The bundle is written in any case; its manifest holds the reached values.
        promoted: layer in a finer format -> the measurement that is the reason.
        cache: results of earlier calls with the same model, calibration text and target.

    Raises:
        CheckpointError: the checkpoint is not a supported encoder.
        CorpusError: there is no text to calibrate with.
        FileError: the output exists or cannot be written; the ranges cannot be read.
        UsageError: an option does not fit the model, the text or the recipe.
        UnfitMachineError: goals for a target whose bundles this CPU computes incorrectly.
    """
    recipe = recipe or QuantizationRecipe()
    require_examples(getattr(recipe.method, "examples", 1))
    if goals and not recipe.held_out:
        recipe = replace(recipe, held_out=HELD_OUT)
    profile = resolve_target(target, minimal_build=format_named(format).minimal_build)
    output = Path(output)
    checkpoint, about_vocab = _opened(model, cased, keep_vocab, vocab_corpus or calibration or default_text())
    with (
        new_folder(output, force=force, marker=MANIFEST) as folder,
        float_model(checkpoint) as in_float,
        one_blas_thread(),
    ):
        maker = Maker(checkpoint, in_float, folder, positions, format, listen, calibration, columns)
        _log.info("quantizing %s to %s: target %s, text %s", checkpoint.name, output, profile.name, maker.text.name)
        _make_quantized(maker, maker.job(recipe, profile, ranges, cache or Cache()), goals, promoted or {}, about_vocab)
    return Bundle.open(output, check=False)


def _make_quantized(
    maker: Maker, job: Job, goals: Collection[Goal], promoted: Mapping[str, str], warnings: tuple[str, ...]
) -> None:
    """Decide on the formats, promote layers if a goal needs it, and write the files."""
    about_text = (*job.text.warnings(), *about_reading(job))
    judged_on = _text_for_goals(maker, job, goals) if goals else None
    promotion = Promotion(recipe=job.recipe, decision=decide(job), promoted=dict(promoted))
    if judged_on is not None:
        with temporary_folder() as scratch:
            promotion = promote(Trials(job=job, decision=promotion.decision, scratch=scratch), goals, judged_on)
    if promotion.sensitivity is not None:
        write_json(maker.folder / SENSITIVITY, promotion.sensitivity)
    decision = promotion.decision
    maker.make(
        replace(decision, warnings=(*warnings, *about_text, *decision.warnings)),
        recipe=promotion.recipe,
        target=job.target,
        reasons=layer_reasons(job, decision, promotion.promoted),
        goals=promotion.goals,
    )


def _text_for_goals(maker: Maker, job: Job, goals: Collection[Goal]) -> TextSource:
    """The held-out part of the calibration text.

    Raises:
        UnfitMachineError: this CPU computes bundles for the target incorrectly.
        UsageError: a goal cannot be measured with this model or this text.
    """
    if job.recipe.method.may_overflow:
        require_correct_here(job.target.name)
    text, model = maker.text.hold_out(job.recipe.held_out)[1], maker.checkpoint
    require_measurable(goals, model.parts, text.why_not, model.name)
    return text


def sensitivity(
    model: str | Path | Checkpoint,
    *,
    target: str = "auto",
    recipe: QuantizationRecipe | None = None,
    calibration: str | Path | None = None,
    columns: Sequence[str] = (),
    cache: Cache | None = None,
    listen: Listener = no_progress,
) -> Sensitivity:
    """Measure what each layer of a recipe loses and what finer formats would gain; arguments as for ``quantize``."""
    recipe = recipe or QuantizationRecipe()
    checkpoint = model if isinstance(model, Checkpoint) else open_checkpoint(model)
    with temporary_folder() as scratch, float_model(checkpoint) as in_float, one_blas_thread():
        maker = Maker(checkpoint, in_float, scratch, "masked", "onnx", listen, calibration, columns)
        job = maker.job(recipe, resolve_target(target), None, cache or Cache())
        return measure_layers(Trials(job=job, decision=decide(job), scratch=scratch))


def _opened(
    model: str | Path | Checkpoint, cased: bool | None, keep_vocab: int | None, text: str | Path
) -> tuple[Checkpoint, tuple[str, ...]]:
    """The checkpoint, with a smaller vocabulary if ``keep_vocab`` is given, and a sentence about it."""
    checkpoint = model if isinstance(model, Checkpoint) else open_checkpoint(model)
    if cased is not None:
        checkpoint = replace(checkpoint, cased=cased)
    if keep_vocab is None:
        return checkpoint, ()
    size = checkpoint.config.vocab_size
    checkpoint, trim = trim_to_text(checkpoint, keep_vocab, Path(text))
    kept = f"keeps {trim.tokens:,} of {size:,} tokens, {100 * trim.coverage:.1f} % of those in {Path(text).name}"
    return checkpoint, (f"{kept}; other words are split into these tokens",)
