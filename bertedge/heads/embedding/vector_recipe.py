"""The settings of one call of ``encode``: the model's own, changed by the caller's arguments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from bertedge.errors import UsageError, nearest
from bertedge.heads.verb import Option
from bertedge.pooling import DEFAULT_POOLING, EmbeddingSettings, PoolingMode, finished, pool, vector_width
from bertedge.predictor import RowOutputs
from bertedge.vector_modules import VectorModule, normalized

VectorPooling = PoolingMode | Literal["pooler"]
Pooling = VectorPooling | Literal["none"]
POOLINGS: tuple[str, ...] = (*get_args(PoolingMode), "pooler", "none")
#: The settings as options of the command.
VECTOR_OPTIONS = (
    Option(name="pooling", kind=str, default=None, help=f"How a text becomes one vector: {', '.join(POOLINGS)}."),
    Option(name="normalize", kind=bool, default=None, help="Whether vectors are scaled to length 1."),
    Option(name="dimensions", default=None, least=1, help="How many of a vector's first numbers are kept."),
    Option(name="prompt", kind=str, default=None, help="Words to put in front of the texts."),
    Option(name="prompt_name", kind=str, default=None, help="Which of the model's prompts is put there."),
)


@dataclass(frozen=True, kw_only=True)
class VectorRecipe:
    """How hidden states become vectors.

    Attributes:
        pooling: names in ``POOLINGS``; ``pooler`` and ``none`` stand alone.
        modules: what happens to the pooled vector.
        normalize: whether it is scaled to length 1 after that.
        dimensions: how many of its first numbers are kept; None for all.
        rescale: whether it is scaled to length 1 again after that.
        prompt: the words in front of every text.
        pools_prompt: whether the prompt's tokens are pooled as well.
    """

    pooling: tuple[str, ...]
    modules: tuple[VectorModule, ...]
    normalize: bool
    dimensions: int | None
    rescale: bool
    prompt: str
    pools_prompt: bool

    @property
    def hidden(self) -> bool:
        """Whether hidden states are read; the pooler's output needs none."""
        return self.pooling != ("pooler",)

    def vector(self, result: RowOutputs, start: int) -> NDArray[np.float32]:
        """The vector of one text, shape (D,); with ``none`` its states, shape (S, H).

        Args:
            start: the first token that is pooled.
        """
        if self.pooling == ("none",):
            # a copy: a view would keep the states of the whole group in memory
            return result["hidden_states"].copy()
        pooled = pool(result["hidden_states"], self.pooling, start=start) if self.hidden else result["pooler_output"]
        vector = finished(pooled, self.modules, normalize=self.normalize, dimensions=self.dimensions)
        return normalized(vector) if self.rescale else vector.copy()

    def no_vectors(self, hidden_size: int) -> NDArray[np.float32]:
        """The vectors of no texts, shape (0, D)."""
        width = vector_width(len(self.pooling) * hidden_size, self.modules, self.dimensions)
        return np.zeros((0, width), np.float32)


def vector_recipe(
    settings: EmbeddingSettings | None,
    *,
    pooling: str | None,
    normalize: bool | None,
    dimensions: int | None,
    prompt_name: str | None,
    prompt: str | None,
) -> VectorRecipe:
    """Combine the model's settings with the arguments of the caller, which take precedence.

    Args:
        settings: the model's settings; None if it has none.

    Raises:
        UsageError: a pooling or a prompt is not known; arguments exclude each other; or the model has no pooling and
            the caller gives none.
    """
    if pooling is not None and pooling not in POOLINGS:
        raise UsageError(f"pooling {pooling!r} is not known", nearest(str(pooling), POOLINGS))
    if dimensions is not None and (type(dimensions) is not int or dimensions < 1):
        raise UsageError(f"dimensions is {dimensions!r}, expected a whole number of at least 1", "for instance 128")
    for name, given in (("normalize", normalize), ("dimensions", dimensions)):
        if pooling == "none" and given:
            raise UsageError(f"{name} applies to vectors, but pooling none returns hidden states", "choose a pooling")
    modes = (pooling,) if pooling is not None else settings.pooling if settings else DEFAULT_POOLING
    if not modes:
        raise UsageError("the model has no pooling of its own", f"name one with pooling=: {', '.join(POOLINGS)}")
    kept = dimensions if dimensions is not None else settings.truncate_dim if settings else None
    return VectorRecipe(
        pooling=modes,
        # trained on vectors of the model's own pooling
        modules=settings.modules if settings and modes == settings.pooling else (),
        normalize=normalize if normalize is not None else settings is not None and settings.normalize,
        dimensions=kept,
        rescale=kept is not None and bool(normalize),
        prompt=_prompt(settings, prompt_name, prompt),
        pools_prompt=settings is None or settings.include_prompt,
    )


def _prompt(settings: EmbeddingSettings | None, name: str | None, prompt: str | None) -> str:
    """The words in front of every text."""
    if name is not None and prompt is not None:
        raise UsageError("prompt and prompt_name are both given", "give only one of them")
    if prompt is not None:
        if not isinstance(prompt, str):
            raise UsageError(f"prompt is {prompt!r}, expected a text", 'for instance prompt="query: "')
        return prompt
    prompts = settings.prompts if settings else {}
    if name is not None and name not in prompts:
        hint = nearest(name, prompts) if prompts else "the model has no prompts; give the words with prompt="
        raise UsageError(f"prompt_name {name!r} is not one of the model's prompts", hint)
    name = name if name is not None else settings.default_prompt_name if settings else None
    return prompts[name] if name is not None else ""
