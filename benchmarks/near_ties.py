"""Measure how close float's two best words are where a bundle's best word differs from float's.

    python benchmarks/near_ties.py MODEL CORPUS BUNDLE [--examples 256]

Install with ``pip install 'bertedge[tools]'``.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from measuring import Sample, arguments

from bertedge.checkpoint import open_checkpoint
from bertedge.predictor import NO_LABEL
from bertedge.probabilities import log_softmax
from bertedge.quantization import export
from bertedge.runtime import load


def main() -> None:
    """Print the ratio of float's second probability to its first, at all positions and where the bundle differs."""
    parser = arguments(__doc__, examples=256)
    parser.add_argument("bundle", type=Path)
    options = parser.parse_args()
    checkpoint = open_checkpoint(options.model)
    if "mlm" not in checkpoint.heads:
        parser.error(f"{checkpoint.name} has no MLM head")
    ratios, differs = [], []
    with tempfile.TemporaryDirectory() as scratch:
        export(checkpoint, Path(scratch) / "float")
        reference, candidate = load(Path(scratch) / "float"), load(options.bundle)  # sessions open when they are needed
        for batch in Sample.of(checkpoint, options.corpus, options.examples).batches:
            filled = batch.labels["mlm"] != NO_LABEL
            expected, got = (model.predict(batch).logits["mlm"][filled] for model in (reference, candidate))
            second, first = np.sort(np.partition(log_softmax(expected), -2, axis=1)[:, -2:], axis=1).T
            ratios.append(np.exp(second - first))
            differs.append(expected.argmax(axis=1) != got.argmax(axis=1))
    ratio, different = np.concatenate(ratios), np.concatenate(differs)
    print(f"positions {len(ratio)}, best word differs at {different.mean():.2%}")
    print(f"second / first probability: median {np.median(ratio):.2f}, above 0.9 at {(ratio > 0.9).mean():.0%}")
    where = ratio[different]
    print(f"  where it differs: median {np.median(where):.2f}, above 0.9 at {(where > 0.9).mean():.0%}")


if __name__ == "__main__":
    main()
