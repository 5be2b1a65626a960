"""Vectors of texts that come as words or as token ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertedge.errors import UsageError
from bertedge.runtime import BertRuntime
from bertedge.serve.routes.text_lengths import require_fit
from bertedge.serve.schemas import texts_or_ids

#: The command whose models make vectors.
VERB = "embed"


def vectors_of(
    model: BertRuntime,
    given: str | list[Any],
    *,
    normalize: bool | None = None,
    dimensions: int | None = None,
    prompt_name: str | None = None,
    truncate: bool = True,
) -> NDArray[np.float32]:
    """The vectors of texts, (texts, D), as :meth:`bertedge.BertRuntime.encode` makes them.

    Args:
        given: see :data:`bertedge.serve.schemas.TextsOrIds`.
        truncate: whether texts that are too long are cut; token ids never are.

    Raises:
        UsageError: a text is too long, or vectors have fewer numbers than ``dimensions``; or as ``encode``.
    """
    items = texts_or_ids(given)
    texts = [item for item in items if isinstance(item, str)]
    ids = [item for item in items if not isinstance(item, str)]
    if ids and prompt_name is not None:
        raise UsageError("prompt_name is for texts, but token ids are read as they are", "give texts, or no prompt")
    if not truncate:
        require_fit(model, VERB, texts, prompt=_prompt(model, prompt_name))
    parts = []
    if texts:
        parts.append(model.encode(texts, normalize=normalize, dimensions=dimensions, prompt_name=prompt_name))
    if ids:
        parts.append(model.encode_ids(ids, normalize=normalize, dimensions=dimensions))
    vectors = parts[0] if len(parts) == 1 else _in_order(items, *parts)
    if dimensions is not None and vectors.shape[1] < dimensions:
        raise UsageError(f"dimensions is {dimensions}, but vectors have {vectors.shape[1]} numbers", "ask for fewer")
    return vectors


def _prompt(model: BertRuntime, name: str | None) -> str:
    """The words that :meth:`bertedge.BertRuntime.encode` puts in front of a text."""
    settings = model.embedding
    if settings is None:
        return ""
    return settings.prompts.get(name or settings.default_prompt_name or "", "")


def _in_order(items: Sequence[Any], of_texts: NDArray[np.float32], of_ids: NDArray[np.float32]) -> NDArray[np.float32]:
    """The vectors of texts and those of ids, in the order in which both were given."""
    is_text = np.array([isinstance(item, str) for item in items])
    vectors = np.empty((len(items), of_texts.shape[1]), dtype=np.float32)
    vectors[is_text], vectors[~is_text] = of_texts, of_ids
    return vectors
