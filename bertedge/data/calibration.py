"""The text that ships with bertedge: for calibration, golden vectors and the demo."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np

from bertedge.data.corpus import TokenizedCorpus
from bertedge.data.pairs import Pair, sentence_pairs
from bertedge.errors import FileError

ENGLISH = "en.txt"


def default_text() -> Path:
    """``calibration/en.txt``: inside the installed package, or beside it in a source tree."""
    package = Path(str(resources.files("bertedge")))
    for folder in (package / "calibration", package.parent / "calibration"):
        if (folder / ENGLISH).is_file():
            return folder / ENGLISH
    raise FileError(
        f"calibration/{ENGLISH} is missing from this installation", "pip install --force-reinstall bertedge"
    )


def mixed_pairs(corpus: TokenizedCorpus, count: int, *, max_length: int, seed: int) -> list[Pair]:
    """``count`` pairs of many lengths, from a tenth of ``max_length`` up; the corpus is walked as often as it takes."""
    rng = np.random.default_rng(seed)
    pairs: list[Pair] = []
    while len(pairs) < count:
        length = int(rng.integers(max(5, max_length // 10), max_length + 1))
        stream = sentence_pairs(corpus, max_length=length, rng=rng)
        pairs.extend(pair for pair, _ in zip(stream, range(4), strict=False))
    return pairs[:count]
