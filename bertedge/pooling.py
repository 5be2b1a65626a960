"""How a model makes one vector of a text: pooling, length, the modules after the pooling, and prompts.

The terms and the arithmetic are those of sentence-transformers (Reimers and Gurevych 2019, section 3), so that vectors
can be compared with its vectors.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from bertedge.errors import CheckpointError, nearest
from bertedge.vector_modules import TINY, VectorModule, normalized

PoolingMode = Literal["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]
POOLING_MODES: tuple[PoolingMode, ...] = get_args(PoolingMode)
#: Pooling of a checkpoint that names none: the mean over the tokens, as in sentence-transformers.
DEFAULT_POOLING: tuple[PoolingMode, ...] = ("mean",)
Similarity = Literal["cosine", "dot", "euclidean", "manhattan"]
SIMILARITIES: tuple[Similarity, ...] = get_args(Similarity)


@dataclass(frozen=True, kw_only=True)
class EmbeddingSettings:
    """The settings of a sentence-transformers folder for its vectors.

    Attributes:
        pooling: how the hidden states become one vector; the vectors of several modes are concatenated in this order.
            Empty if the model has no pooling.
        max_seq_length: largest number of tokens of a text, special tokens included; longer texts are cut off.
        modules: what happens to the pooled vector, in this order.
        normalize: whether vectors are scaled to length 1 after that.
        truncate_dim: how many of a vector's first numbers are kept after all that; None for all (matryoshka
            representations, Kusupati et al. 2022).
        similarity: how two vectors are compared; see :func:`bertedge.similarity.similarities`.
        include_prompt: whether the tokens of a prompt are pooled as well.
        prompts: name -> the words that are put in front of a text.
        default_prompt_name: the prompt that is used if the caller names none.
    """

    pooling: tuple[str, ...]
    max_seq_length: int
    normalize: bool = False
    include_prompt: bool = True
    prompts: dict[str, str] = field(default_factory=dict)
    default_prompt_name: str | None = None
    modules: tuple[VectorModule, ...] = ()
    truncate_dim: int | None = None
    similarity: Similarity = "cosine"

    def __post_init__(self) -> None:
        for mode in self.pooling:
            if mode not in POOLING_MODES:
                raise CheckpointError(f"pooling mode {mode!r} is not known", nearest(mode, POOLING_MODES))
        if self.max_seq_length < 1:
            raise CheckpointError(
                f"max_seq_length is {self.max_seq_length}, expected at least 1", "correct the model's settings"
            )
        if self.truncate_dim is not None and self.truncate_dim < 1:
            raise CheckpointError(
                f"truncate_dim is {self.truncate_dim}, expected at least 1", "correct the model's settings"
            )
        for one, other in pairwise(self.modules):
            if one.outputs != other.inputs:
                raise CheckpointError(
                    f"{other.name} takes {other.inputs} numbers, but {one.name} gives {one.outputs}",
                    "the modules must come from the same model",
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
        steps = [module.words for module in self.modules]
        steps += ["scaled to length 1"] if self.normalize else []
        steps += [f"the first {self.truncate_dim} numbers"] if self.truncate_dim is not None else []
        lines = [", ".join((pooling, *steps, f"up to {self.max_seq_length} tokens"))]
        if self.similarity != "cosine":
            lines.append(f"vectors are compared by {self.similarity}")
        for name, prompt in self.prompts.items():
            lines.append(f"prompt {name}{' (default)' if name == self.default_prompt_name else ''}: {prompt!r}")
        if self.prompts and not self.include_prompt:
            lines.append("the prompt's tokens are not pooled")
        return lines

    @property
    def weights_sha256(self) -> list[str]:
        """Hashes of the weights of its modules, for provenance."""
        arrays = (np.ascontiguousarray(array) for module in self.modules for array in module.weights.values())
        return [hashlib.sha256(array.tobytes()).hexdigest() for array in arrays]

    def pooled_width(self, hidden_size: int) -> int:
        """Numbers of a pooled vector, before the modules."""
        return hidden_size * max(1, len(self.pooling))

    def width(self, hidden_size: int) -> int:
        """D, the numbers of a vector."""
        return vector_width(self.pooled_width(hidden_size), self.modules, self.truncate_dim)

    def fitting(self, hidden_size: int) -> EmbeddingSettings:
        """A copy for a model with another hidden size: without modules and truncation if they do not fit it."""
        if not self.modules or self.modules[0].inputs == self.pooled_width(hidden_size):
            return self
        return replace(self, modules=(), truncate_dim=None)

    def vector(self, pooled: NDArray[np.float32]) -> NDArray[np.float32]:
        """The vector of a pooled one, (D,)."""
        return finished(pooled, self.modules, normalize=self.normalize, dimensions=self.truncate_dim)


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


def vector_width(pooled: int, modules: Sequence[VectorModule], dimensions: int | None) -> int:
    """D, the numbers of a vector whose pooled vector has ``pooled`` numbers; see :func:`finished`."""
    whole = modules[-1].outputs if modules else pooled
    return min(whole, dimensions or whole)


def finished(
    pooled: NDArray[np.float32], modules: Sequence[VectorModule], *, normalize: bool, dimensions: int | None
) -> NDArray[np.float32]:
    """The vector of a pooled one, (D,).

    Args:
        modules: applied first.
        normalize: whether it is scaled to length 1 after that.
        dimensions: how many of its first numbers are kept after that; None for all.
    """
    for module in modules:
        pooled = module.apply(pooled)
    pooled = normalized(pooled) if normalize else pooled
    return pooled[:dimensions]


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
