"""The models of a run: the float reference, unique names, and checks that models can be compared."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from bertedge.bundle import Bundle
from bertedge.bundle_folder import find_bundle
from bertedge.checkpoint import open_checkpoint
from bertedge.data.corpus import read_sentences
from bertedge.errors import UsageError
from bertedge.evaluate.latency import DEFAULT_GRID, Workload
from bertedge.heads import HEADS, Head
from bertedge.quantization import export
from bertedge.runtime import BertRuntime, load

#: Sentences that tokenizers are compared on.
TOKENIZED_SENTENCES = 1000


def distinct_names(folders: Sequence[Path]) -> list[str]:
    """The shortest unique end of each path. A folder that is given twice gets a number."""
    paths = [
        Path(os.path.abspath(folder)) for folder in folders
    ]  # links are not resolved, so that they keep their names

    def tail(path: Path, parts: int) -> str:
        return "/".join(path.parts[-parts:])

    names = []
    for index, path in enumerate(paths):
        others = set(paths) - {path}
        parts = next(n for n in range(1, len(path.parts) + 1) if all(tail(path, n) != tail(o, n) for o in others))
        again = paths[:index].count(path)
        names.append(tail(path, parts) + (f" ({again + 1})" if again else ""))
    return names


def candidate_names(folders: Sequence[str | Path], engines: Sequence[str]) -> list[str]:
    """A name for each folder on each engine."""
    names = distinct_names([Path(folder) for folder in folders])
    return names if len(engines) == 1 else [f"{name} on {engine}" for name in names for engine in engines]


def skipped(names: Sequence[str], bundles: Sequence[Bundle], why_not: Callable[[Head], str | None]) -> dict[str, str]:
    """Head that a model has -> why no candidate could be compared on it.

    Args:
        why_not: head -> why it cannot be measured on the texts; None if it can.
    """
    reasons = {}
    for name, head in HEADS.items():
        there = [bundle.manifest.parts.has(name) for bundle in bundles]
        if not any(there):
            continue
        if not there[0] or not any(there[1:]):
            without = [model for model, has in zip(names, there, strict=True) if not has]
            reasons[name] = f"no {head.words} head in {', '.join(without)}"
        elif (reason := why_not(head)) is not None:
            reasons[name] = reason
    return reasons


def float_reference(reference: str | Path, scratch: Path, threads: int, *, cased: bool | None = None) -> BertRuntime:
    """The float model: the bundle that is given, or the checkpoint exported to ``scratch``."""
    folder = find_bundle(reference)
    if folder is not None:
        opened = load(folder, threads=threads)
        if opened.bundle.manifest.recipe is not None:
            raise UsageError(
                f"{reference}: is int8, a reference must be float32",
                "name the checkpoint, or a bundle made by bertedge export",
            )
        if cased is not None:
            raise UsageError(f"{reference}: is a bundle, whose casing is fixed", "leave out --cased and --uncased")
        return opened
    checkpoint = open_checkpoint(reference, cased=cased)
    exported = scratch / checkpoint.name
    export(checkpoint, exported)
    return load(exported, threads=threads, check=False)


def fitting(grid: tuple[Workload, ...], longest: int) -> list[Workload]:
    """The workloads that the model can read. Default workloads that are too long are left out.

    Raises:
        UsageError: a workload that the user chose is too long.
    """
    too_long = [workload.seq_len for workload in grid if workload.seq_len > longest]
    if too_long and grid != DEFAULT_GRID:
        raise UsageError(f"a workload has {max(too_long)} tokens, the model reads {longest}", "shorten it in --lengths")
    fitting = [workload for workload in grid if workload.seq_len <= longest]
    return fitting or [Workload(batch_size=1, seq_len=longest)]


def require_one_vocabulary(models: Sequence[BertRuntime]) -> None:
    """Refuse candidates that cannot be compared with the first model.

    Raises:
        UsageError: a candidate has another vocabulary.
    """
    reference = models[0]
    for model in models[1:]:
        own, others = model.tokenizer.vocabulary(), reference.tokenizer.vocabulary()
        if own != others:
            trimmed = f"export the reference with --keep-vocab {len(own)} and the same text, and name that bundle"
            raise UsageError(
                f"{model.name}: has another vocabulary than the reference {reference.name}",
                trimmed if set(own) < set(others) else "compare it with the model that it was made from",
            )


def require_one_tokenizer(models: Sequence[BertRuntime], text: Path) -> None:
    """Refuse candidates whose tokenizer gives different tokens. The tokenizer of the first model is used for all.

    Raises:
        UsageError: a tokenizer gives other tokens for the first sentences of the text.
        CorpusError: the text cannot be read.
    """
    reference, *others = models
    others_rules = [model for model in others if model.tokenizer.sha256 != reference.tokenizer.sha256]
    if not others_rules:
        return
    lines = [sentence for _, sentence in itertools.islice(read_sentences(text), TOKENIZED_SENTENCES)]
    expected = [encoding.input_ids for encoding in reference.tokenizer.encode_many(lines)]
    for model in others_rules:
        if [encoding.input_ids for encoding in model.tokenizer.encode_many(lines)] != expected:
            raise UsageError(
                f"{model.name}: tokenizes {text.name} differently from the reference {reference.name}",
                "the rules for case or accents differ: give bench --cased or --uncased as for the bundle, or make "
                "the bundle again from this checkpoint",
            )
