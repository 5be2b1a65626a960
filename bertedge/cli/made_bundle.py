"""Prints the result of ``quantize`` and ``export``."""

from __future__ import annotations

import shlex
from typing import Any

from bertedge.cli.console import note
from bertedge.errors import CheckFailed
from bertedge.evaluate.fidelity_words import fidelity_words
from bertedge.evaluate.goals import UNDECIDED, outcome_sentence

#: A lower cosine with float causes a warning; the default recipe reaches 0.99 or more.
LOW_COSINE = 0.95


def conclude_goals(bundle: Any) -> None:
    """Print whether the goals were met.

    Raises:
        CheckFailed: a goal was not met.
    """
    manifest = bundle.manifest
    promoted = [layer for layer, reason in manifest.layer_reasons.items() if ": promoted" in reason]
    for option, reached in manifest.goals.items():
        note(outcome_sentence(option, reached))
    if promoted:
        note(f"promoted: {len(promoted)} layers; 'bertedge info {shlex.quote(str(bundle.folder))}' says why")
    missed = [outcome_sentence(option, reached) for option, reached in manifest.goals.items() if not reached.met]
    if missed:
        undecided = all(sentence.startswith(UNDECIDED) for sentence in missed)
        helps = "give more text with --calibration" if undecided else "start from --recipe faithful"
        raise CheckFailed(
            f"{bundle.folder}: {'; '.join(missed)}", f"the best bundle is saved; loosen the goals, or {helps}"
        )


def report_bundle(bundle: Any, model: str, kind: str, cased: bool | None = None) -> None:
    """Print the size of a bundle, its warnings, its difference from float, and how to measure it."""
    manifest = bundle.manifest
    share = f"{100 * manifest.coverage.macs:.1f} % of the work in integers"
    note(f"{bundle.folder}: {kind}, {bundle.size_bytes / 1e6:.1f} MB, {share}")
    for warning in manifest.warnings:
        note(f"warning: {warning}")
    if manifest.recipe is not None:
        note(f"on a few examples: {fidelity_words(manifest.fidelity)}")
        if manifest.fidelity.min_cosine < LOW_COSINE:
            note("warning: vectors are far from float's; compare with the default recipe, or calibrate with more text")
        casing = {None: "", True: " --cased", False: " --uncased"}[cased]
        folder, reference = shlex.quote(str(bundle.folder)), shlex.quote(str(model))
        of_a_task = any(head.task is None for head in manifest.parts.rows)
        data = " --data LABELLED.csv" if of_a_task else ""
        note(f"to measure it: bertedge bench {folder} --reference {reference}{data}{casing}")
