"""Which positions are masked, and what replaces their tokens (Devlin et al. 2019, section 3.1, task 1)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MASK_SHARE = 0.15


def mask_tokens(
    input_ids: NDArray[np.int64],
    maskable: NDArray[np.bool_],
    *,
    mask_id: int,
    vocab_size: int,
    rng: np.random.Generator,
    share: float = MASK_SHARE,
    always_mask: bool = False,
    continuation: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Mask ``share`` of the maskable positions of one sequence, at least one if there is any.

    Of the chosen positions, 80 % become the mask token, 10 % a random token, and 10 % stay as they are.

    Args:
        input_ids: ids of one sequence, shape (S,); not changed.
        maskable: False at special tokens and padding, shape (S,).
        always_mask: put the mask token at every chosen position, as at inference; for evaluation.
        continuation: by id, True for tokens that continue a word, shape (V,). If given, whole words are chosen (the
            second release of Devlin et al.); each token of a word is still replaced independently.

    Returns:
        The changed ids (S,) and the chosen positions in ascending order (K,); the labels are ``input_ids[positions]``.
    """
    candidates = np.flatnonzero(maskable)
    count = min(len(candidates), max(1, round(share * len(candidates))))
    if continuation is None:
        positions = np.sort(rng.choice(candidates, size=count, replace=False)).astype(np.int64)
    else:
        positions = _whole_words(candidates, continuation[input_ids[candidates]], count, rng)
    changed = input_ids.copy()
    draw = rng.random(len(positions))
    masked = draw < (1.0 if always_mask else 0.8)
    randomized = ~masked & (draw < 0.9)
    changed[positions[masked]] = mask_id
    changed[positions[randomized]] = rng.integers(vocab_size, size=int(randomized.sum()))
    return changed, positions


def _whole_words(
    candidates: NDArray[np.int64], continues: NDArray[np.bool_], count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Positions of words in random order, as long as they fit into ``count``; the first word is always taken."""
    follows = continues & (np.diff(candidates, prepend=-2) == 1)
    word = np.cumsum(~follows)  # a text may begin in the middle of a word; its part counts as a word
    sizes = np.bincount(word)
    order = rng.permutation(np.flatnonzero(sizes))
    fits = np.cumsum(sizes[order]) <= count
    fits[:1] = True
    return np.sort(candidates[np.isin(word, order[fits])]).astype(np.int64)
