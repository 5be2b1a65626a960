"""Measure accuracy on held-out text, with `[MASK]` at every chosen position and with BERT's own 80/10/10.

    python benchmarks/pretraining_scores.py valid.txt MODEL...

Pretraining reports its accuracy in the second way. It is easier, since one chosen position in ten shows its own token.
Intervals are 95 % bootstrap over texts.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from bertedge.checkpoint import open_checkpoint
from bertedge.data.batches import Layout
from bertedge.data.corpus import tokenize_corpus
from bertedge.predictor import NO_LABEL
from bertedge.train.inputs import Inputs
from bertedge.train.model import BertForPreTraining
from bertedge.train.validation import HeldOut

DRAWS = 1000


@torch.no_grad()
def hits(model: BertForPreTraining, held_out: HeldOut) -> np.ndarray:
    """(texts, 4): masked positions found, masked positions, pairs decided correctly, pairs with a label."""
    rows = []
    for batch in held_out.batches:
        inputs = Inputs.of(batch)
        output = inputs.run(model)
        found = (output.logits["mlm"].argmax(1) == inputs.labels["mlm"]).numpy()
        filled = batch.labels["mlm"] != NO_LABEL
        of_text = np.zeros(filled.shape)
        of_text[filled] = found
        known = batch.labels["nsp"] != NO_LABEL
        right = (output.logits["nsp"].argmax(1).numpy() == batch.labels["nsp"]) & known
        rows.append(np.stack([of_text.sum(1), filled.sum(1), right, known], axis=1))
    return np.concatenate(rows)


def interval(rows: np.ndarray, part: int, whole: int) -> str:
    """A ratio of sums over texts, with its bootstrap interval."""
    if not rows[:, whole].sum():
        return "-"
    rng = np.random.default_rng(0)
    drawn = rows[rng.integers(len(rows), size=(DRAWS, len(rows)))].sum(axis=1)
    low, high = np.quantile(drawn[:, part] / drawn[:, whole], [0.025, 0.975])
    return f"{rows[:, part].sum() / rows[:, whole].sum():.4f} ({low:.4f} to {high:.4f})"


def main() -> None:
    """Print a row for each model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--pairs", type=int, default=5000)
    options = parser.parse_args()
    print("| model | MLM top-1, all [MASK] | MLM top-1, 80/10/10 | NSP accuracy | pairs |")
    print("| --- | --- | --- | --- | --- |")
    for name in options.models:
        checkpoint = open_checkpoint(name)
        model = BertForPreTraining.from_checkpoint(checkpoint).eval()
        corpus = tokenize_corpus(options.corpus, checkpoint.tokenizer)
        layout = Layout.of(checkpoint.tokenizer, checkpoint.config.vocab_size)
        masked, mixed = (
            hits(
                model,
                HeldOut(corpus, layout, max_length=128, seed=0, pairs=options.pairs, always_mask=always),
            )
            for always in (True, False)
        )
        print(
            f"| {checkpoint.name} | {interval(masked, 0, 1)} | {interval(mixed, 0, 1)} | {interval(masked, 2, 3)} "
            f"| {len(masked)} |"
        )


if __name__ == "__main__":
    main()
