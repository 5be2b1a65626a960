"""Which heads a run trains and which it keeps, and why."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from bertedge.data.corpus import TokenizedCorpus
from bertedge.data.pairs import sentence_pairs
from bertedge.errors import BertEdgeError, CheckpointError, UsageError
from bertedge.heads import HEADS, TASKS
from bertedge.heads.parts import Parts

#: Next sentences are learned if the next sentence is known for this share of the pairs.
MIN_LABELLED = 0.05
#: Pairs that the share is estimated from.
SAMPLE = 2000
TRAINED, ADDED = "trained", "added and trained"


@dataclass(frozen=True, kw_only=True)
class HeadPlan:
    """Which heads the trained model has, and which of them are trained.

    Attributes:
        parts: the parts of the model.
        tasks: the heads that are trained.
        decisions: head -> whether it is trained, kept or left out, in words.
    """

    parts: Parts
    tasks: tuple[str, ...]
    decisions: dict[str, str] = field(default_factory=dict)


def why_no_next_sentences(corpus: TokenizedCorpus, max_length: int) -> str | None:
    """Why next sentences cannot be learned from a corpus, in words that follow its name; None if they can."""
    if reason := corpus.why_no_pairs:
        return f"{reason} (a blank line divides documents)"
    pairs = islice(sentence_pairs(corpus, max_length=max_length, rng=np.random.default_rng(0)), SAMPLE)
    labels = [pair.label for pair in pairs]
    share = sum(label is not None for label in labels) / max(len(labels), 1)
    if share >= MIN_LABELLED:
        return None
    return (
        f"has a next sentence for only {100 * share:.1f} % of its pairs: most documents are one sentence, "
        f"or most sentences are as long as a pair of {max_length} tokens"
    )


def plan_heads(there: Parts, add: Collection[str], cannot: dict[str, str], *, fresh: bool = False) -> HeadPlan:
    """Decide which heads of a model are trained, kept or left out.

    Args:
        there: the parts that the model has before training.
        add: tasks whose heads the user adds.
        cannot: task -> why this run cannot train it.
        fresh: the model is new, so a head that is not trained is left out.

    Raises:
        UsageError: a head to add cannot be trained.
    """
    others = [head for head in there.heads if head not in TASKS]
    heads, tasks, decisions = list[str](), [], dict.fromkeys(others, "left out: it is learned from labelled texts")
    for task in TASKS:
        added = task in add and task not in there.heads
        if added and task in cannot:
            raise UsageError(f"--add-head {task}: {cannot[task]}", "leave it out, or give another text")
        if task not in there.heads and not added:
            continue
        if task not in cannot:
            tasks.append(task)
            decisions[task] = ADDED if added else TRAINED
        elif fresh:
            decisions[task] = f"left out: {cannot[task]}"
            continue
        else:
            decisions[task] = f"kept unchanged: {cannot[task]}"
        heads.append(task)
    parts = Parts(tuple(heads), pooler=there.pooler and not fresh, tied=there.tied)
    return HeadPlan(parts=parts, tasks=tuple(tasks), decisions=decisions)


def sentences(decisions: dict[str, str]) -> Iterable[str]:
    """A sentence for each head that is added or not trained."""
    names = {head: f"{row.task or f'answers of the {row.words} head'} ({head})" for head, row in HEADS.items()}
    names |= {"pooler": "pooled vectors (pooler)"}
    for head, words in decisions.items():
        if words == ADDED:
            yield f"{names[head]}: the head is added with new weights, and trained"
        elif words != TRAINED:
            yield f"{names[head]} are not trained; the head is {words}"


def nothing_to_train(name: str, heads: HeadPlan) -> BertEdgeError:
    """The error if no head can be trained."""
    if not heads.decisions.keys() & {*TASKS}:
        return CheckpointError(
            f"{name}: has no head to train",
            f"add one: {', '.join(f'--add-head {task} learns {HEADS[task].task}' for task in TASKS)}",
        )
    reasons = "; ".join(f"{head}: {words}" for head, words in heads.decisions.items())
    return UsageError(f"{name}: nothing can be trained ({reasons})", "give another text, or other weights")
