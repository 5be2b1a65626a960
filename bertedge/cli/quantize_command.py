"""``bertedge quantize`` and ``bertedge export``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from bertedge.cli.added_options import goal_options
from bertedge.cli.console import progress_bar
from bertedge.cli.made_bundle import conclude_goals, report_bundle
from bertedge.cli.options import (
    CasedOption,
    ColumnOption,
    ForceOption,
    FormatChoice,
    FormatOption,
    ModelArgument,
    OutputOption,
    PositionsChoice,
    PositionsOption,
    SetOption,
    TargetOption,
    choices,
    library,
    require_column_has_file,
)
from bertedge.errors import UsageError
from bertedge.evaluate.goals import GOALS, Goal, goals_of_table
from bertedge.keys import as_file_errors, read_assignments
from bertedge.recipe import KEYS, RECIPES, QuantizationRecipe, read_recipe
from bertedge.target import AUTO, explain

KeepVocabOption = Annotated[
    int | None,
    typer.Option(min=1, help="Keep this many tokens of the vocabulary, those used most.", show_default=False),
]
VocabCorpusOption = Annotated[
    Path | None,
    typer.Option(help="Text for --keep-vocab, to count tokens in; default: the calibration text.", show_default=False),
]
RecipeOption = Annotated[
    str,
    typer.Option(help="The settings to start from: a built-in recipe or a TOML file.", **choices((*RECIPES, "FILE"))),
]
CalibrationOption = Annotated[
    Path | None,
    typer.Option(
        help="Calibration text like your inputs: .txt, .csv, .tsv, .jsonl or .conll; default: the built-in text.",
        show_default=False,
    ),
]
ExcludeOption = Annotated[
    list[str] | None,
    typer.Option(help="Layers that stay float32; may be repeated.", show_default=False, metavar="PATTERN"),
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


@goal_options([name for name, kind in GOALS.items() if kind.head is not None])
def quantize(
    model: ModelArgument,
    output: OutputOption,
    target: TargetOption = AUTO,
    recipe: RecipeOption = "default",
    assignments: SetOption = None,
    calibration: CalibrationOption = None,
    column: ColumnOption = None,
    examples: Annotated[
        int | None,
        typer.Option(min=1, help="Texts to calibrate with; default: the number in the recipe.", show_default=False),
    ] = None,
    ranges: Annotated[
        Path | None,
        typer.Option(help="Reuse the ranges of this bundle, made from the same model.", show_default=False),
    ] = None,
    exclude: ExcludeOption = None,
    goals: Sequence[Goal] = (),
    positions: PositionsOption = PositionsChoice.masked,
    format: FormatOption = FormatChoice.onnx,
    keep_vocab: KeepVocabOption = None,
    vocab_corpus: VocabCorpusOption = None,
    cased: CasedOption = None,
    force: ForceOption = False,
) -> None:
    """Write an int8 ONNX bundle. If goals are given, layers get finer formats until the goals are met."""
    _require_keep_vocab(keep_vocab, vocab_corpus)
    require_column_has_file(column, calibration, "--calibration")
    options = {"examples": examples, "exclude": tuple(exclude) if exclude else None}
    changed, of_file = _chosen_recipe(recipe, assignments or (), options)
    make = library("bertedge.quantization", "tools")
    with progress_bar("quantizing") as listen:
        bundle = make.quantize(
            model,
            output,
            target=target,
            recipe=changed,
            calibration=calibration,
            columns=column or (),
            ranges=ranges,
            positions=positions.value,
            format=format.value,
            goals=tuple({goal.option: goal for goal in (*of_file, *goals)}.values()),
            keep_vocab=keep_vocab,
            vocab_corpus=vocab_corpus,
            cased=cased,
            force=force,
            listen=listen,
        )
    minimal_build = make.FORMATS[format.value].minimal_build
    kind = f"int{changed.method.bits} {changed.method.name} for {explain(target, minimal_build=minimal_build)}"
    report_bundle(bundle, model, kind, cased)
    conclude_goals(bundle)


def _chosen_recipe(
    name: str, assignments: Sequence[str], options: dict[str, Any]
) -> tuple[QuantizationRecipe, tuple[Goal, ...]]:
    """The recipe, changed by ``--set``, then by options, and the goals in its file."""
    recipe, table = read_recipe(name)
    with as_file_errors(name):
        goals = goals_of_table(table)
    given = {name: value for name, value in options.items() if value is not None}
    return recipe.changed(**{**read_assignments(assignments, KEYS), **given}), goals


def _require_keep_vocab(keep_vocab: int | None, vocab_corpus: Path | None) -> None:
    if vocab_corpus is not None and keep_vocab is None:
        raise UsageError(
            f"--vocab-corpus {vocab_corpus}: has no effect without --keep-vocab",
            "add --keep-vocab N, the number of tokens to keep",
        )
