"""``bertedge export`` and ``bertedge quantize``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bertedge.cli.console import progress_bar
from bertedge.cli.goals import (
    MaxKlOption,
    MaxMlmDropOption,
    MaxNspDropOption,
    MaxNspFlipsOption,
    MinAgreementOption,
    MinCosineOption,
)
from bertedge.cli.made import conclude_goals, report_bundle
from bertedge.cli.options import (
    CasedOption,
    ForceOption,
    FormatChoice,
    FormatOption,
    ModelArgument,
    OutputOption,
    PositionsChoice,
    PositionsOption,
    TargetOption,
    choices,
    library,
)
from bertedge.errors import UsageError
from bertedge.evaluate.goals import goals_of
from bertedge.recipe import (
    METHODS,
    OBSERVERS,
    RECIPES,
    ROUNDINGS,
    WEIGHT_SCALES,
    QuantizationRecipe,
    Static,
    WeightOnly,
    recipe_named,
)
from bertedge.target import AUTO, explain

KeepVocabOption = Annotated[
    int | None,
    typer.Option(min=1, help="Keep this many tokens of the vocabulary, those used most.", show_default=False),
]
VocabCorpusOption = Annotated[
    Path | None,
    typer.Option(help="Text that --keep-vocab counts tokens in; default: that of the calibration.", show_default=False),
]


def export(
    model: ModelArgument,
    output: OutputOption,
    positions: PositionsOption = PositionsChoice.masked,
    format: FormatOption = FormatChoice.onnx,
    keep_vocab: KeepVocabOption = None,
    vocab_corpus: VocabCorpusOption = None,
    cased: CasedOption = None,
    force: ForceOption = False,
) -> None:
    """Write a float32 ONNX bundle."""
    _require_keep_vocab(keep_vocab, vocab_corpus)
    make = library("bertedge.quantization", "tools")
    with progress_bar("exporting") as listen:
        bundle = make.export(
            model,
            output,
            positions=positions.value,
            format=format.value,
            keep_vocab=keep_vocab,
            vocab_corpus=vocab_corpus,
            cased=cased,
            force=force,
            listen=listen,
        )
    report_bundle(bundle, model, "float32")


def quantize(
    model: ModelArgument,
    output: OutputOption,
    target: TargetOption = AUTO,
    recipe: Annotated[
        str, typer.Option(help="The settings to start from; other options change them.", **choices(RECIPES))
    ] = "default",
    method: Annotated[
        str | None,
        typer.Option(
            help="static: ranges from calibration; dynamic: ranges from every input; weight-only: 4 or 8 bits, "
            "a small file or a more faithful one, slower.",
            show_default="static",
            **choices(METHODS),
        ),
    ] = None,
    bits: Annotated[
        int | None,
        typer.Option(
            help="Bits of a weight, of the weight-only method.",
            show_default=str(WeightOnly.bits),
            **choices(("4", "8")),
        ),
    ] = None,
    block_size: Annotated[
        int | None,
        typer.Option(
            help="Weights that share a scale, of the weight-only method.",
            show_default=str(WeightOnly.block_size),
            metavar="N",
        ),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(help="Text like yours to calibrate with; default: the built-in text.", show_default=False),
    ] = None,
    examples: Annotated[
        int | None,
        typer.Option(min=1, help="Texts to calibrate with.", show_default=str(Static.num_examples), metavar="N"),
    ] = None,
    observer: Annotated[
        str | None,
        typer.Option(
            help="How ranges of activations are found: min-max keeps every value, mse and percentile clip.",
            show_default="min-max",
            **choices(OBSERVERS),
        ),
    ] = None,
    percentile: Annotated[
        float | None,
        typer.Option(
            help="Percent of the values that the observer percentile keeps.", show_default="99.99", metavar="PERCENT"
        ),
    ] = None,
    rounding: Annotated[
        str | None,
        typer.Option(
            help="How weights are rounded: compensated takes longer and loses less; auto goes by the model's size.",
            show_default="auto",
            **choices(ROUNDINGS),
        ),
    ] = None,
    weight_scales: Annotated[
        str | None,
        typer.Option(
            help="Scales of weights: by the largest weight, or searched for the least error.",
            show_default="max",
            **choices(WEIGHT_SCALES),
        ),
    ] = None,
    smoothing: Annotated[
        bool | None, typer.Option(help="Balance channels with outliers (SmoothQuant).", show_default="yes")
    ] = None,
    outliers_beside: Annotated[
        bool | None,
        typer.Option(help="Multiply the few channels with the largest outliers in float.", show_default="yes"),
    ] = None,
    bias_correction: Annotated[
        bool | None,
        typer.Option(help="Correct in the bias what rounded weights lose on average.", show_default="yes"),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(help="Layers that stay float32; may be repeated.", show_default=False, metavar="PATTERN"),
    ] = None,
    finer: Annotated[
        list[str] | None,
        typer.Option(
            help="Layers with 16-bit activations, at twice the work; may be repeated.",
            show_default=False,
            metavar="PATTERN",
        ),
    ] = None,
    float16: Annotated[
        list[str] | None,
        typer.Option(
            help="Layers whose weights are float16, computed in float; may be repeated.",
            show_default=False,
            metavar="PATTERN",
        ),
    ] = None,
    max_mlm_drop: MaxMlmDropOption = None,
    max_nsp_drop: MaxNspDropOption = None,
    max_kl: MaxKlOption = None,
    min_agreement: MinAgreementOption = None,
    max_nsp_flips: MaxNspFlipsOption = None,
    min_cosine: MinCosineOption = None,
    ranges: Annotated[
        Path | None,
        typer.Option(help="Use the ranges of this bundle, made from the same model.", show_default=False),
    ] = None,
    positions: PositionsOption = PositionsChoice.masked,
    format: FormatOption = FormatChoice.onnx,
    keep_vocab: KeepVocabOption = None,
    vocab_corpus: VocabCorpusOption = None,
    cased: CasedOption = None,
    force: ForceOption = False,
) -> None:
    """Write an int8 ONNX bundle. With goals, layers are promoted to finer formats until they are met."""
    _require_keep_vocab(keep_vocab, vocab_corpus)
    make = library("bertedge.quantization", "tools")
    goals = goals_of(
        {
            "max_mlm_drop": max_mlm_drop,
            "max_nsp_drop": max_nsp_drop,
            "max_kl": max_kl,
            "min_agreement": min_agreement,
            "max_nsp_flips": max_nsp_flips,
            "min_cosine": min_cosine,
        }
    )
    changed = recipe_named(recipe).changed(
        method=method,
        exclude=tuple(exclude or ()),
        float16=tuple(float16 or ()),
        bits=bits,
        block_size=block_size,
        num_examples=examples,
        observer=observer,
        percentile=percentile,
        rounding=rounding,
        weight_scales=weight_scales,
        smoothing=smoothing,
        outliers_beside=outliers_beside,
        bias_correction=bias_correction,
        finer=tuple(finer) if finer else None,
    )
    with progress_bar("quantizing") as listen:
        bundle = make.quantize(
            model,
            output,
            target=target,
            recipe=changed,
            calibration=calibration,
            ranges=ranges,
            positions=positions.value,
            format=format.value,
            goals=goals,
            keep_vocab=keep_vocab,
            vocab_corpus=vocab_corpus,
            cased=cased,
            force=force,
            listen=listen,
        )
    minimal_build = make.FORMATS[format.value].minimal_build
    report_bundle(bundle, model, f"{_kind(changed)} for {explain(target, minimal_build=minimal_build)}", cased)
    conclude_goals(bundle)


def _kind(recipe: QuantizationRecipe) -> str:
    return f"int{recipe.method.bits} {recipe.method.name}"


def _require_keep_vocab(keep_vocab: int | None, vocab_corpus: Path | None) -> None:
    if vocab_corpus is not None and keep_vocab is None:
        raise UsageError(
            f"--vocab-corpus {vocab_corpus}: nothing is counted without --keep-vocab", "say how many tokens to keep"
        )
