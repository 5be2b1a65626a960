"""How good a model is on documents that it does not learn from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from bertedge.data.batches import Layout, drawn_batches
from bertedge.data.corpus import TokenizedCorpus
from bertedge.predictor import NO_LABEL
from bertedge.train.inputs import Inputs
from bertedge.train.model import BertForPreTraining

#: Pairs that are measured at most: enough for a point of a curve, little next to what a run costs.
PAIRS = 256
BATCH = 32
#: Pairs that are drawn for each one that is measured.
SURPLUS = 16
#: A corpus of fewer documents is learned from whole.
MIN_DOCUMENTS = 10


@dataclass(frozen=True, kw_only=True)
class Score:
    """Both tasks on held-out pairs, every chosen position shown as ``[MASK]``; ``loss`` is the sum of both."""

    loss: float
    mlm_accuracy: float
    nsp_accuracy: float | None
    pairs: int


def hold_out(corpus: TokenizedCorpus, share: float, seed: int) -> tuple[TokenizedCorpus, TokenizedCorpus | None]:
    """What is learned from, and what is held out: ``share`` of the documents, at least two, None of a small corpus."""
    if share == 0 or corpus.num_documents < MIN_DOCUMENTS:
        return corpus, None
    return corpus.split(max(2, round(share * corpus.num_documents)), np.random.default_rng([seed, 0]))


class HeldOut:
    """Fixed pairs with fixed masks from held-out documents.

    Args:
        pairs: how many at most.
        always_mask: show ``[MASK]`` at every chosen position, as at inference; False for the 80/10/10 of pretraining,
            which is easier, since one position in ten shows its own piece.
    """

    def __init__(
        self,
        corpus: TokenizedCorpus,
        layout: Layout,
        *,
        max_length: int,
        seed: int,
        pairs: int = PAIRS,
        always_mask: bool = True,
    ) -> None:
        self.batches = drawn_batches(
            corpus,
            layout,
            np.random.default_rng([seed, 1]),
            count=pairs,
            max_length=max_length,
            batch_size=BATCH,
            always_mask=always_mask,
            candidates=SURPLUS * pairs,  # documents come in a random order, so not all pairs need be drawn
        )

    @torch.no_grad()
    def score(self, model: BertForPreTraining, device: torch.device, precision: str) -> Score:
        """Run the model on all pairs."""
        model.eval()
        mlm_loss = nsp_loss = mlm_hits = nsp_hits = masked = labelled = pairs = 0.0
        for batch in self.batches:
            inputs = Inputs.of(batch, device)
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
                output = inputs.run(model)
            mlm, nsp, labels = output.mlm_logits.float(), output.nsp_logits.float(), inputs.next_sentence_labels
            mlm_loss += F.cross_entropy(mlm, inputs.masked_labels, reduction="sum").item()
            nsp_loss += F.cross_entropy(nsp, labels, ignore_index=NO_LABEL, reduction="sum").item()
            mlm_hits += (mlm.argmax(1) == inputs.masked_labels).sum().item()
            nsp_hits += (nsp.argmax(1) == labels).sum().item()
            masked, labelled, pairs = masked + len(mlm), labelled + inputs.labelled, pairs + len(labels)
        model.train()
        return Score(
            loss=mlm_loss / masked + nsp_loss / max(labelled, 1),
            mlm_accuracy=mlm_hits / masked,
            nsp_accuracy=nsp_hits / labelled if labelled else None,
            pairs=int(pairs),
        )
