"""Which positions are hidden, and what stands there instead (Devlin et al. 2019, section 3.1, task 1)."""

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
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Hide ``share`` of the maskable positions of one sequence, at least one if there is any.

    Of the chosen positions 80 % become ``[MASK]``, 10 % a random piece and 10 % stay as they are.

    Args:
        input_ids: ids of one sequence, shape (S,); not changed.
        maskable: False at special tokens and padding, shape (S,).
        always_mask: put ``[MASK]`` at every chosen position; evaluation does so, because at inference there is
            nothing else.

    Returns:
        The changed ids (S,) and the chosen positions in ascending order (K,); the labels are ``input_ids[positions]``.
    """
    candidates = np.flatnonzero(maskable)
    count = min(len(candidates), max(1, round(share * len(candidates))))
    positions = np.sort(rng.choice(candidates, size=count, replace=False)).astype(np.int64)
    changed = input_ids.copy()
    draw = rng.random(count)
    masked = draw < (1.0 if always_mask else 0.8)
    randomized = ~masked & (draw < 0.9)
    changed[positions[masked]] = mask_id
    changed[positions[randomized]] = rng.integers(vocab_size, size=int(randomized.sum()))
    return changed, positions
