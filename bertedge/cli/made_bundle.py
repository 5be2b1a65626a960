"""Prints the result of ``quantize`` and ``export``."""

from __future__ import annotations

import shlex
from typing import Any

from bertedge.cli.console import at_least, note
from bertedge.errors import CheckFailed
from bertedge.evaluate.goals import UNDECIDED, outcome_sentence
from bertedge.heads import HEADS
from bertedge.printable import rounded_percent as percent

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


def fidelity_words(fidelity: Any) -> str:
    """The difference of a new bundle from float on the golden inputs, in words."""
    words = [
        f"{'all' if same.equal == same.of else f'{same.equal} of'} {same.of} {HEADS[head].answers} are float's"
        for head, same in fidelity.agreement.items()
        if head in HEADS
    ]
    if fidelity.max_prob_diff is not None:
        words.append(f"probabilities differ by {fidelity.max_prob_diff:.2g} at most")
    if fidelity.max_score_diff is not None:
        words.append(f"scores differ by {percent(fidelity.max_score_diff)} of the largest at most")
    return ", ".join([*words, f"vectors have a cosine of {at_least(fidelity.min_cosine)} or more"])
