"""``similarity``: how similar texts or vectors are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertedge.errors import UsageError
from bertedge.heads.embedding.encode import Encode
from bertedge.pooling import Similarity
from bertedge.similarity import similarities

HINT = "give texts, or what encode returns"
#: One text or vector, or several.
Compared = str | NDArray[np.floating[Any]] | Iterable[str | NDArray[np.floating[Any]]]


class Similar(Encode):
    """The method that compares texts by their vectors."""

    @property
    def similarity_function(self) -> Similarity:
        """How :meth:`similarity` compares vectors: the model's setting, or ``cosine`` if it has none."""
        return self.embedding.similarity if self.embedding else "cosine"

    def similarity(self, a: Compared, b: Compared) -> float | NDArray[np.float32]:
        """Compare texts, or vectors of :meth:`encode`, by the model's similarity function; larger is more similar.

        Args:
            a, b: a text or a vector (D,), or several: a list of texts, an array (N, D). Texts are encoded with the
                model's default settings.

        Returns:
            A number for one and one; (M,) for one and several; (N, M) for several and several.

        Raises:
            UsageError: an item is neither a text nor a vector, or vectors differ in length.
        """
        one, other = self._vectors(a, "a"), self._vectors(b, "b")
        if one.shape[-1] != other.shape[-1]:
            raise UsageError(
                f"similarity: a vector of a has {one.shape[-1]} numbers, one of b {other.shape[-1]}",
                "compare vectors that were made with the same settings",
            )
        found = similarities(np.atleast_2d(one), np.atleast_2d(other), self.similarity_function)
        found = found.reshape(one.shape[:-1] + other.shape[:-1])
        return found if found.ndim else float(found)

    def _vectors(self, given: Compared, name: str) -> NDArray[np.float32]:
        """The vector of one text, (D,), or those of several, (N, D)."""
        if isinstance(given, str):
            return self.encode(given)
        items: Any = given if isinstance(given, np.ndarray) else _listed(given, name)
        if not len(items) or isinstance(items[0], str):
            return self.encode(items)
        try:
            vectors = np.asarray(items, dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise UsageError(f"similarity: {name} is neither texts nor vectors", HINT) from error
        if vectors.ndim not in (1, 2):
            raise UsageError(f"similarity: {name} has shape {vectors.shape}, expected (D,) or (N, D)", HINT)
        return vectors


def _listed(given: Any, name: str) -> list[Any]:
    try:
        return list(given)
    except TypeError as error:
        raise UsageError(f"similarity: {name} is neither texts nor vectors", HINT) from error
