"""Where a bundle's best word differs from float's: how close were float's first two words?

    python benchmarks/near_ties.py BUNDLE MODEL CORPUS [--examples 256]

Install with ``pip install 'bertedge[tools]'``.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from bertedge.data.batches import Layout
from bertedge.data.corpus import tokenize_corpus
from bertedge.evaluate.fidelity import evaluation_batches, log_softmax
from bertedge.predictor import NO_LABEL
from bertedge.quantization import export
from bertedge.runtime import load


def main() -> None:
    """Print the ratio of float's second probability to its first, at all positions and where the bundle differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("model")
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--examples", type=int, default=256)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        export(options.model, Path(scratch) / "float")
        reference, candidate = load(Path(scratch) / "float"), load(options.bundle)
    corpus = tokenize_corpus(options.corpus, reference.tokenizer)
    layout = Layout.of(reference.tokenizer, reference.bundle.config.vocab_size)
    ratios, differs = [], []
    for batch in evaluation_batches(corpus, layout, examples=options.examples, max_length=128, seed=0):
        filled = batch.masked_labels != NO_LABEL
        expected, got = (model.predict(batch).mlm_logits for model in (reference, candidate))
        if expected is None or got is None:
            parser.error("both models need an MLM head")
        second, first = np.sort(np.partition(log_softmax(expected[filled]), -2, axis=1)[:, -2:], axis=1).T
        ratios.append(np.exp(second - first))
        differs.append(expected[filled].argmax(axis=1) != got[filled].argmax(axis=1))
    ratio, different = np.concatenate(ratios), np.concatenate(differs)
    print(f"positions {len(ratio)}, best word differs at {different.mean():.2%}")
    print(f"second / first probability: median {np.median(ratio):.2f}, above 0.9 at {(ratio > 0.9).mean():.0%}")
    where = ratio[different]
    print(f"  where it differs: median {np.median(where):.2f}, above 0.9 at {(where > 0.9).mean():.0%}")


if __name__ == "__main__":
    main()
