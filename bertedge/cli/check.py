"""``bertedge verify`` and ``bertedge info``."""

from __future__ import annotations

import math
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bertedge.bundle import Bundle
from bertedge.cli.console import at_least, note, print_json, stdout
from bertedge.cli.elsewhere import verify_elsewhere
from bertedge.cli.options import AnyCpuOption, BundleArgument, JsonFlag, ThreadsOption
from bertedge.embedding import EmbeddingSettings
from bertedge.emulate.cpus import CPUS, SIMULATED
from bertedge.encoders import EncoderConfig
from bertedge.errors import CheckFailed, CheckpointError, FileError, UsageError
from bertedge.evaluate.goals import sentence
from bertedge.manifest import MANIFEST
from bertedge.records import from_json, to_json
from bertedge.target import AUTO, TARGETS, resolve_target

if TYPE_CHECKING:
    from bertedge.checkpoint import Checkpoint

#: An emulated CPU takes its time.
FEW_EXAMPLES = 16
#: Columns that the values of ``info`` take at least, however narrow the terminal is.
LEAST_WIDTH = 20


def verify(
    bundle: BundleArgument,
    on: Annotated[
        str | None,
        typer.Option(help=f"Emulate these CPUs, with commas between: {', '.join(CPUS)}.", show_default=False),
    ] = None,
    simulate: Annotated[
        str | None,
        typer.Option(
            help=f"Compute in numpy as a target does whose sums of two products have 16 bits: {', '.join(SIMULATED)}.",
            show_default=False,
        ),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            help="With --on or --simulate: the float model, to measure fidelity there too.", show_default=False
        ),
    ] = None,
    corpus: Annotated[
        Path | None,
        typer.Option(help="With --reference: text to measure on; default: the text that ships with bertedge."),
    ] = None,
    examples: Annotated[
        int | None,
        typer.Option(min=1, help="With --reference: sentence pairs to measure on.", show_default=str(FEW_EXAMPLES)),
    ] = None,
    threads: ThreadsOption = None,
    allow_any_cpu: AnyCpuOption = False,
    as_json: JsonFlag = False,
) -> None:
    """Check a bundle's files, and replay its golden vectors on this CPU, or on others."""
    for option, given in (("--corpus", corpus), ("--examples", examples)):
        if reference is None and given is not None:
            raise UsageError(f"verify: {option} takes the float model too", "name it with --reference MODEL")
    if on is not None or simulate is not None:
        if threads is not None or allow_any_cpu:
            option = "--allow-any-cpu" if allow_any_cpu else "--threads"
            raise UsageError(f"verify: {option} is for this CPU", "leave it out, or leave out --on and --simulate")
        return verify_elsewhere(bundle, on, simulate, reference, corpus, examples or FEW_EXAMPLES, as_json)
    if reference is not None:
        raise UsageError(
            "verify: --reference is for other CPUs", "add --on or --simulate; on this CPU there is: bertedge bench"
        )
    _verify_here(bundle, threads, allow_any_cpu, as_json)


def _verify_here(bundle: Path, threads: int | None, allow_any_cpu: bool, as_json: bool) -> None:
    from bertedge.runtime import load
    from bertedge.runtime.golden import verify as replay

    runtime = load(bundle, threads=threads, allow_any_cpu=allow_any_cpu)
    result = replay(runtime)
    if as_json:
        print_json(result)
    else:
        stdout.print(f"files            as in the manifest\ngolden examples  {result.examples}")
        stdout.print(f"CPU              {runtime.bundle.manifest.fit_here}")
        for line in _replayed(result):
            stdout.print(line)
        stdout.print("verified" if result.passed else "FAILED")
    if not result.passed:
        raise CheckFailed(
            f"{bundle}: results differ from those where it was made: {result.differences}",
            "quantize again on this machine, or with --target portable",
        )


def _replayed(result: Any) -> list[str]:
    """What a replay of the golden vectors found, a line each."""
    vectors = f"vectors have a cosine of {at_least(result.min_cosine_to_float)} or more"
    lines = [f"vectors          differ by {result.max_state_diff:.2g} at most (rounding: {result.state_tolerance:.2g})"]
    if result.max_prob_diff is None:
        return [
            "probabilities    not measured: the model has no MLM or NSP head",
            *lines,
            f"from float       {vectors}",
        ]
    difference = result.max_prob_diff_to_float
    to_float = "" if difference is None else f"probabilities differ by {difference:.2g} at most, "
    return [
        f"best words       {result.words}",
        f"probabilities    differ by {result.max_prob_diff:.2g} at most (rounding: {result.tolerance:.2g})",
        *lines,
        f"from float       {to_float}{vectors}",
    ]


def info(
    model: Annotated[str | None, typer.Argument(help="A bundle or a checkpoint.", show_default=False)] = None,
    targets: Annotated[bool, typer.Option("--targets", help="List the CPU targets and what runs on them.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="The targets with all columns, as Markdown.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Show what a bundle or a checkpoint is."""
    if model is not None and (targets or as_markdown):
        raise UsageError(
            f"info {model}: --targets and --markdown are for the table of targets", "leave out the one or the other"
        )
    if targets or as_markdown:
        return _targets(as_json, as_markdown)
    if model is None:
        raise UsageError("info: no model given", "name a bundle or a checkpoint, or list the targets with --targets")
    if (Path(model) / MANIFEST).is_file():
        described = _describe_bundle(Bundle.open(Path(model), check=False))
    else:
        described = _describe_checkpoint(model)
    for warning in described["warnings"]:
        note(f"warning: {warning}")
    if as_json:
        print_json(described)
        return
    shown = {key: value for key, value in described.items() if key != "warnings" and (value or key != "left_out")}
    width = max(map(len, shown))
    room = max(stdout.width - width - 1, LEAST_WIDTH)
    for key, value in shown.items():
        texts = [part for line in _lines(key, value) for part in textwrap.wrap(line, room) or [""]]
        for line, text in enumerate(texts):
            stdout.print(f"{'' if line else key:{width}} {text}")


def _describe_bundle(bundle: Bundle) -> dict[str, Any]:
    manifest = bundle.manifest
    recipe = to_json(manifest.recipe) if manifest.recipe else "float32"
    return {
        "kind": "bundle",
        "model": manifest.provenance.source,
        "shape": _shape(bundle.config),
        "heads": list(manifest.heads),
        "left_out": list(manifest.left_out),
        "warnings": list(manifest.warnings),
        **_tokenizer(bundle),
        **_embedding(manifest.embedding),
        "recipe": recipe,
        "target": manifest.target,
        "here": manifest.fit_here,
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


def _describe_checkpoint(model: str) -> dict[str, Any]:
    from bertedge.checkpoint import open_checkpoint
    from bertedge.encoders import names

    checkpoint = open_checkpoint(model)
    return {
        "kind": "checkpoint",
        "model": checkpoint.name,
        "shape": _shape(checkpoint.config),
        "heads": list(checkpoint.heads),
        "parameters": sum(map(math.prod, names.expected_shapes(checkpoint.config, checkpoint.heads).values())),
        "left_out": list(checkpoint.left_out),
        "warnings": list(checkpoint.warnings),
        **_tokenizer(checkpoint),
        **_embedding(checkpoint.embedding),
    }


def _embedding(settings: EmbeddingSettings | None) -> dict[str, Any]:
    """How the model makes vectors, where it says so."""
    return {} if settings is None else {"embedding": to_json(settings)}


def _tokenizer(model: Bundle | Checkpoint) -> dict[str, Any]:
    """What the tokenizer does to a text; why there is none, where it cannot be read."""
    try:
        tokenizer = model.tokenizer
    except (FileError, CheckpointError) as error:
        return {"tokenizer": f"{error.message} ({error.hint})"}
    return {
        "casing": "uncased" if tokenizer.lowercases else "cased",
        "accents": "removed" if tokenizer.strips_accents else "kept",
    }


def _shape(config: EncoderConfig) -> str:
    return (
        f"{config.num_hidden_layers} layers x {config.hidden_size}, {config.num_attention_heads} heads, "
        f"vocabulary of {config.vocab_size}, up to {config.max_position_embeddings} tokens"
    )


def _lines(key: str, value: Any) -> list[str]:
    """A value for a person: sizes in MB, shares in percent, what is nested a line each."""
    if key == "size_bytes":
        return [f"{value / 1e6:.1f} MB"]
    if key == "parameters":
        return [f"{value:,}"]
    if key == "coverage":
        shares = (
            f"{100 * value['macs']:.1f} % of the multiply-accumulates and {100 * value['bytes']:.1f} % of the bytes"
        )
        return [f"{shares} are integers of 8 bits or fewer"]
    if key == "casing":
        return [f"{value}: " + ("text is made lower case" if value == "uncased" else "capital letters are kept")]
    if key == "here":
        return value.split("; ")
    if key == "bytes_by_part":
        return [f"{name} {size / 1e6:.2f} MB" for name, size in value.items()]
    if key in ("layer_reasons", "goals"):
        return [f"{name} {words}" for name, words in value.items()]
    if key == "embedding":
        return list(from_json(EmbeddingSettings, value).lines)
    if key == "provenance":
        return [f"{name} {_shown(item)}" for name, item in value.items() if item is not None]
    return [_shown(value)]


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_shown(item)}" for key, item in value.items() if item not in (None, []))
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _targets(as_json: bool, as_markdown: bool) -> None:
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
