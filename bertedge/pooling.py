"""How a model makes one vector of a text: pooling, length, normalization and prompts.

The terms and the arithmetic are those of sentence-transformers (Reimers and Gurevych 2019, section 3), so that vectors
can be compared with its vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from bertedge.errors import CheckpointError, nearest

PoolingMode = Literal["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]
POOLING_MODES: tuple[PoolingMode, ...] = get_args(PoolingMode)
#: Pooling of a checkpoint that names none: the mean over the tokens, as in sentence-transformers.
DEFAULT_POOLING: tuple[PoolingMode, ...] = ("mean",)
#: A vector shorter than this is not scaled up to length 1.
TINY = 1e-12


@dataclass(frozen=True, kw_only=True)
class EmbeddingSettings:
    """The settings of a sentence-transformers folder for its vectors.

    Attributes:
        pooling: how the hidden states become one vector; the vectors of several modes are concatenated in this order.
            Empty if the model has no pooling.
        max_seq_length: largest number of tokens of a text, special tokens included; longer texts are cut off.
        normalize: whether vectors are scaled to length 1.
        include_prompt: whether the tokens of a prompt are pooled as well.
        prompts: name -> the words that are put in front of a text.
        default_prompt_name: the prompt that is used if the caller names none.
        left_out: modules of the model that bertedge does not compute, such as ``2_Dense (Dense)``.
    """

    pooling: tuple[str, ...]
    max_seq_length: int
    normalize: bool = False
    include_prompt: bool = True
    prompts: dict[str, str] = field(default_factory=dict)
    default_prompt_name: str | None = None
    left_out: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for mode in self.pooling:
            if mode not in POOLING_MODES:
                raise CheckpointError(f"pooling mode {mode!r} is not known", nearest(mode, POOLING_MODES))
        if self.max_seq_length < 1:
            raise CheckpointError(
                f"max_seq_length is {self.max_seq_length}, expected at least 1", "correct the model's settings"
            )
        if self.default_prompt_name is not None and self.default_prompt_name not in self.prompts:
            raise CheckpointError(
                f"the default prompt {self.default_prompt_name!r} is not one of the model's prompts",
                nearest(self.default_prompt_name, self.prompts) if self.prompts else "the model has no prompts",
            )

    @property
    def lines(self) -> list[str]:
        """The settings in words, a line each."""
        pooling = f"{' + '.join(self.pooling)} pooling" if self.pooling else "no pooling of its own"
        scaled = ", scaled to length 1" if self.normalize else ""
        lines = [f"{pooling}{scaled}, up to {self.max_seq_length} tokens"]
        for name, prompt in self.prompts.items():
            lines.append(f"prompt {name}{' (default)' if name == self.default_prompt_name else ''}: {prompt!r}")
        if self.prompts and not self.include_prompt:
            lines.append("the prompt's tokens are not pooled")
        return [*lines, self.warning] if self.warning else lines

    @property
    def warning(self) -> str | None:
        """A sentence about the modules that are left out; None if there are none."""
        if not self.left_out:
            return None
        return f"left out: {', '.join(self.left_out)}; vectors are those before it, so they differ from the model's own"


def pooling_of(settings: EmbeddingSettings | None) -> tuple[str, ...]:
    """The pooling modes of a model's settings; the mean for a model without settings."""
    return settings.pooling if settings is not None and settings.pooling else DEFAULT_POOLING


def pool(states: NDArray[np.float32], modes: Sequence[str], *, start: int = 0) -> NDArray[np.float32]:
    """One vector of the hidden states of a text.

    Args:
        states: the last layer's states without padding, shape (S, H).
        modes: names in ``POOLING_MODES``.
        start: the first token that is pooled; those before it are a prompt's.

    Returns:
        The vectors of all modes, one after the other, shape (len(modes) * H,).
    """
    return np.concatenate([_POOL[mode](states, start) for mode in modes])


def normalized(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    """A vector of length 1 in the same direction, shape (D,)."""
    return (vector / max(float(np.linalg.norm(vector)), TINY)).astype(np.float32, copy=False)


def cosines(expected: NDArray[np.float32], got: NDArray[np.float32]) -> NDArray[np.float64]:
    """Cosine of each row with its counterpart, (N,); 1 where both are zero, 0 where one of them is.

    Args:
        expected, got: shape (N, H).
    """
    one, other = expected.astype(np.float64), got.astype(np.float64)
    lengths = np.linalg.norm(one, axis=1), np.linalg.norm(other, axis=1)
    product = np.maximum(lengths[0] * lengths[1], TINY**2)
    both_zero = (lengths[0] < TINY) & (lengths[1] < TINY)
    return np.where(both_zero, 1.0, np.einsum("nh,nh->n", one, other) / product)


def _weighted_mean(states: NDArray[np.float32], start: int) -> NDArray[np.float32]:
    """A mean with larger weights for later tokens: 1, 2, 3, ... (Muennighoff 2022, SGPT, equation 2)."""
    weights = np.arange(start + 1, len(states) + 1, dtype=np.float32)
    return (weights @ states[start:] / weights.sum()).astype(np.float32, copy=False)


def _mean_sqrt(states: NDArray[np.float32], start: int) -> NDArray[np.float32]:
    """The sum over the square root of the number of tokens."""
    return (states[start:].sum(axis=0) / np.sqrt(np.float32(len(states) - start))).astype(np.float32, copy=False)


_POOL: dict[str, Callable[[NDArray[np.float32], int], NDArray[np.float32]]] = {
    "cls": lambda states, start: states[start],
    "max": lambda states, start: states[start:].max(axis=0),
    "mean": lambda states, start: states[start:].mean(axis=0),
    "mean_sqrt_len_tokens": _mean_sqrt,
    "weightedmean": _weighted_mean,
    "lasttoken": lambda states, start: states[-1],
}
