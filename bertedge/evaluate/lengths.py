"""Fidelity by the length of the text: rounding errors accumulate differently over 16 and over 128 tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bertedge.bounds import Count
from bertedge.data.batches import Layout
from bertedge.data.corpus import TokenizedCorpus
from bertedge.evaluate.bootstrap import Observations, estimate_all
from bertedge.evaluate.fidelity import Kind, evaluation_batches, observe_all
from bertedge.evaluate.metrics import METRICS
from bertedge.metric import MetricValue
from bertedge.predictor import Batch, Predictor
from bertedge.progress import Listener, no_progress

#: Lengths that texts are cut to, in tokens; lengths that the model cannot read are left out.
LENGTHS = (16, 32, 64, 128, 256, 512)
#: The most tokens to compare for one length, so that long texts take no more time than short texts.
TOKENS = 256 * 64
#: The most texts and the most tokens of a batch, because several copies of its logits are in memory.
BATCH_SIZE, TOKENS_AT_ONCE = 16, 16 * 128


@dataclass(frozen=True, kw_only=True)
class LengthFidelity:
    """Fidelity on texts of one length.

    Attributes:
        max_length: the most tokens of a text; nearly all texts have this length. Of the user's own texts, those that
            are longer than the length before it.
        texts: number of texts.
        fidelity: metric -> value, without invariance.
    """

    max_length: Count
    texts: Count
    fidelity: dict[str, MetricValue]


def measure_by_length(
    reference: Predictor,
    candidates: Sequence[Predictor],
    corpus: TokenizedCorpus,
    layout: Layout,
    *,
    examples: int,
    lengths: Sequence[int],
    seed: int,
    kind: Kind,
    settings: Any = None,
    listen: Listener = no_progress,
) -> list[tuple[LengthFidelity, ...]]:
    """Fidelity of each candidate on texts of each length.

    The same corpus is cut into texts of each length, and at most ``examples`` of them are drawn.

    Args:
        settings: those of the model's heads, as :data:`bertedge.heads.parts.HeadSettings`.
    """
    found: list[list[LengthFidelity]] = [[] for _ in candidates]
    for done, length in enumerate(lengths):
        listen(done / len(lengths), f"comparing outputs on {length} tokens")
        count = max(1, min(examples, TOKENS // length))
        at_once = max(1, min(BATCH_SIZE, TOKENS_AT_ONCE // length))
        batches = evaluation_batches(
            corpus, layout, examples=count, max_length=length, seed=seed, kind=kind, batch_size=at_once
        )
        seen = observe_all(reference, candidates, batches, settings=settings)
        for own, observations in zip(found, seen, strict=True):
            own.append(at_length(length, batches, estimate_all(observations)))
    return [tuple(own) for own in found]


def by_length(seen: Observations, batches: Sequence[Batch]) -> tuple[LengthFidelity, ...]:
    """Fidelity on texts as they are, in groups by their length; lengths without a text are left out.

    Args:
        batches: the texts that were compared.
    """
    lengths = np.concatenate([batch.lengths for batch in batches])
    limits = sorted({*LENGTHS, int(lengths.max())})
    groups = np.searchsorted(limits, lengths)
    return tuple(
        LengthFidelity(
            max_length=limits[group],
            texts=int((groups == group).sum()),
            fidelity=_known(estimate_all(seen.of_texts(groups == group))),
        )
        for group in np.unique(groups)
    )


def _known(fidelity: dict[str, MetricValue]) -> dict[str, MetricValue]:
    return {name: value for name, value in fidelity.items() if name in METRICS}


def at_length(max_length: int, batches: Sequence[Batch], fidelity: dict[str, MetricValue]) -> LengthFidelity:
    """One row of the table by length."""
    return LengthFidelity(
        max_length=max_length,
        texts=sum(len(batch.input_ids) for batch in batches),
        fidelity=_known(fidelity),
    )
