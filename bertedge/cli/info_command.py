"""``bertedge info``."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bertedge.bundle import Bundle
from bertedge.bundle_folder import find_bundle
from bertedge.cli.console import note, print_json, stdout
from bertedge.cli.options import JsonFlag
from bertedge.encoders import EncoderConfig, encoder_of
from bertedge.engines import first_choice
from bertedge.errors import BertEdgeError, CheckpointError, FileError, UsageError
from bertedge.evaluate.fidelity_words import fidelity_words
from bertedge.evaluate.goals import sentence
from bertedge.heads import HEADS, Head
from bertedge.heads.parts import Parts
from bertedge.keys import to_toml
from bertedge.manifest import GoldenFidelity, Manifest
from bertedge.recipe import METHODS, QuantizationRecipe
from bertedge.records import from_json, to_json
from bertedge.target import AUTO, TARGETS, resolve_target

if TYPE_CHECKING:
    from bertedge.checkpoint import Checkpoint

#: The least width of the column of values, also in a narrow terminal.
LEAST_WIDTH = 20
LETTERS = {"uncased": "uncased: text is made lower case", "cased": "cased: capital letters are kept"}
POSITIONS = {
    "masked": "as bertedge reads them",
    "all": "as other tools read them: at every token, with the input and output names of Hugging Face Optimum",
}


def info(
    model: Annotated[
        str | None, typer.Argument(help="A bundle or a checkpoint, or one on the hub.", show_default=False)
    ] = None,
    as_recipe: Annotated[
        bool, typer.Option("--recipe", help="Print the bundle's recipe as TOML, for 'bertedge quantize --recipe FILE'.")
    ] = False,
    targets: Annotated[bool, typer.Option("--targets", help="List the CPU targets and what runs on them.")] = False,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the targets with all columns, as Markdown.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Show what a bundle or a checkpoint is."""
    if targets or as_markdown:
        if model is not None or as_recipe:
            raise UsageError(
                "info: --targets and --markdown are for the table of targets", "leave out the model and --recipe"
            )
        return _print_targets(as_json, as_markdown)
    if model is None:
        raise UsageError("info: no model given", "name a bundle or a checkpoint, or list the targets with --targets")
    folder = find_bundle(model)
    bundle = None if folder is None else Bundle.open(folder, check=False)
    if as_recipe:
        return print(recipe_toml(bundle, model), end="")
    described = _describe_checkpoint(model) if bundle is None else _describe_bundle(bundle)
    for warning in described["warnings"]:
        note(f"warning: {warning}")
    if as_json:
        print_json(described)
    else:
        _print_lines({LABELS.get(key, key): _lines(key, value) for key, value in described.items()})


def recipe_toml(bundle: Bundle | None, name: str) -> str:
    """The recipe of a bundle as a TOML file.

    Raises:
        UsageError: the bundle is not quantized.
    """
    if bundle is None or bundle.manifest.recipe is None:
        raise UsageError(f"{name}: is not quantized, so it has no recipe", "name a bundle made by 'bertedge quantize'")
    return to_toml(bundle.manifest.recipe.values())


def _describe_bundle(bundle: Bundle) -> dict[str, Any]:
    manifest = bundle.manifest
    return {
        "kind": "bundle",
        "model": manifest.provenance.source,
        "family": encoder_of(bundle.config).title,
        "shape": _shape(bundle.config),
        "heads": list(manifest.heads),
        **_settings(manifest.parts),
        "pooler": manifest.parts.pooler,
        "left_out": list(manifest.left_out),
        "warnings": list(manifest.warnings),
        **_tokenizer(bundle),
        "recipe": to_json(manifest.recipe) if manifest.recipe else "float32",
        "target": manifest.target,
        **_engines(manifest),
        "format": manifest.format,
        "positions": manifest.positions,
        "size_bytes": bundle.size_bytes,
        "bytes_by_part": manifest.bytes_by_part,
        "coverage": to_json(manifest.coverage),
        "fidelity": to_json(manifest.fidelity),
        "layer_reasons": manifest.layer_reasons,
        "goals": {option: sentence(option, reached) for option, reached in manifest.goals.items()},
        "min_onnxruntime": manifest.min_onnxruntime,
        "provenance": to_json(manifest.provenance),
    }


def _engines(manifest: Manifest) -> dict[str, Any]:
    """The engine that ``auto`` chooses on this machine, its description, and why it takes no other."""
    try:
        choice = first_choice(manifest)
    except BertEdgeError as error:
        return {"here": error.message, "engine": "none", "other_engines": {}}
    return {
        "here": manifest.fit_here(choice.engine.weight_range),
        "engine": f"{choice.engine.name}: {choice.engine.describe()}",
        "other_engines": choice.passed_over,
    }


def _describe_checkpoint(model: str) -> dict[str, Any]:
    from bertedge.checkpoint import open_checkpoint

    checkpoint = open_checkpoint(model)
    return {
        "kind": "checkpoint",
        "model": checkpoint.name,
        "family": encoder_of(checkpoint.config).title,
        "shape": _shape(checkpoint.config),
        "heads": list(checkpoint.heads),
        **_settings(checkpoint.parts),
        "pooler": checkpoint.parts.pooler,
        "parameters": sum(map(math.prod, checkpoint.parts.shapes(checkpoint.config).values())),
        "left_out": list(checkpoint.left_out),
        "warnings": list(checkpoint.warnings),
        **_tokenizer(checkpoint),
    }


def _settings(parts: Parts) -> dict[str, Any]:
    """Head -> what the model's files say about it, such as its labels."""
    found = {name: parts.settings_of(name) for name in HEADS}
    return {name: to_json(own) for name, own in found.items() if own is not None}


def _tokenizer(model: Bundle | Checkpoint) -> dict[str, Any]:
    """The properties of the tokenizer, or why it cannot be read."""
    try:
        tokenizer = model.tokenizer
    except (FileError, CheckpointError) as error:
        return {"tokenizer": f"{error.message} ({error.hint})"}
    return {
        "tokenizer": type(tokenizer.bare.model).__name__,
        "casing": "uncased" if tokenizer.lowercases else "cased",
        "accents": "removed" if tokenizer.strips_accents else "kept",
    }


def _shape(config: EncoderConfig) -> str:
    return (
        f"{config.layers_in_words}, {config.num_attention_heads} heads, "
        f"vocabulary of {config.vocab_size}, up to {config.max_length} tokens"
    )


#: Key of the JSON -> label in the printed table.
LABELS = {
    **{name: head.words for name, head in HEADS.items()},
    "shape": "encoder",
    "left_out": "tensors left out",
    "casing": "letters",
    "target": "made for",
    "here": "on this CPU",
    "other_engines": "not by",
    "format": "file format",
    "positions": "outputs",
    "size_bytes": "model file",
    "bytes_by_part": "weights",
    "coverage": "in integers",
    "fidelity": "against float",
    "layer_reasons": "other formats",
    "min_onnxruntime": "onnxruntime",
    "provenance": "made from",
}


def _recipe_lines(value: Any) -> list[str]:
    """The method, and the settings that differ from its defaults."""
    if value == "float32":
        return ["none: all weights are float32"]
    recipe = from_json(QuantizationRecipe, value)
    usual = QuantizationRecipe(method=METHODS[recipe.method.name]()).values()
    changed = {name: setting for name, setting in recipe.values().items() if setting != usual.get(name)}
    return [f"{recipe.method.name}, {'with' if changed else 'default settings'}", *to_toml(changed).splitlines()]


def _provenance_lines(value: dict[str, Any]) -> list[str]:
    versions = ", ".join(f"{name} {version}" for name, version in value["versions"].items())
    text = value["calibration_sha256"]
    lines = [f"{value['source']}, sha256 {value['source_sha256']}"]
    return [*lines, *([f"calibration text, sha256 {text}"] if text else []), f"by {versions}"]


def _about(head: Head, value: Any) -> list[str]:
    """The settings of a head, from JSON."""
    return head.about(from_json(head.settings_type, value)) if head.settings_type is not None else []


def _size(size: int) -> str:
    return f"{size / 1e6:.2f} MB" if size >= 10_000 else f"{size / 1e3:.1f} kB"


#: Key -> function that formats its value as lines. Other values are printed unchanged.
LINES: dict[str, Callable[[Any], list[str]]] = {
    **{name: partial(_about, head) for name, head in HEADS.items()},
    "heads": lambda value: [", ".join(value) or "none: it gives vectors"],
    "pooler": lambda value: ["yes" if value else "no"],
    "left_out": lambda value: [", ".join(value)] if value else [],
    "warnings": lambda value: [],  # already printed
    "parameters": lambda value: [f"{value:,}"],
    "casing": lambda value: [LETTERS[value]],
    "recipe": _recipe_lines,
    "here": lambda value: value.split("; "),
    "positions": lambda value: [POSITIONS.get(value, value)],
    "size_bytes": lambda value: [f"{value / 1e6:.1f} MB"],
    "bytes_by_part": lambda value: [f"{name} {_size(size)}" for name, size in value.items()],
    "coverage": lambda value: [
        f"{100 * value['macs']:.1f} % of the multiply-accumulates and {100 * value['bytes']:.1f} % of the bytes"
    ],
    "fidelity": lambda value: [fidelity_words(from_json(GoldenFidelity, value))],
    "other_engines": lambda value: [f"{name}: {words}" for name, words in value.items()],
    "layer_reasons": lambda value: [f"{name}: {words}" for name, words in value.items()],
    "goals": lambda value: list(value.values()),
    "min_onnxruntime": lambda value: [f"{value} or newer"],
    "provenance": _provenance_lines,
}


def _lines(key: str, value: Any) -> list[str]:
    return LINES[key](value) if key in LINES else [str(value)]


def _print_lines(described: dict[str, list[str]]) -> None:
    """Print labels and values in two columns that fit the terminal."""
    shown = {label: lines for label, lines in described.items() if lines}
    width = max(map(len, shown))
    room = max(stdout.width - width - 2, LEAST_WIDTH)
    for label, lines in shown.items():
        texts = [part for line in lines for part in textwrap.wrap(line, room) or [""]]
        for line, text in enumerate(texts):
            stdout.print(f"{'' if line else label:{width}}  {text.rstrip()}")


def _print_targets(as_json: bool, as_markdown: bool) -> None:
    from bertedge.report import targets
    from bertedge.report.terminal import terminal_table, without

    if as_json:
        known = {name: {**to_json(t), "required_features": sorted(t.required_features)} for name, t in TARGETS.items()}
        print_json(known)
        return
    if as_markdown:
        print(targets.markdown(), end="")
        return
    here, (head, *rows) = resolve_target(AUTO).name, targets.target_rows(targets.NARROW)
    shown = [[name + (" (this machine)" if name == here else ""), *cells] for name, *cells in rows]
    stdout.print(terminal_table("", [[head, *shown], without([head, *shown], "why")], width=stdout.width))
