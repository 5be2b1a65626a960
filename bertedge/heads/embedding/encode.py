"""``encode``: vectors of texts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Literal, overload

import numpy as np
from numpy.typing import NDArray

from bertedge.errors import CheckpointError, UsageError
from bertedge.heads.embedding.vector_recipe import Pooling, VectorPooling, VectorRecipe, vector_recipe
from bertedge.heads.text_model import NO_POSITIONS, TextModel, row_of
from bertedge.predictor import Row
from bertedge.texts import texts_of
from bertedge.tokenizer import Tokenizer


class Encode(TextModel):
    """The method of the hidden states and of the pooler."""

    @property
    def dimension(self) -> int:
        """D, the length of the vectors that :meth:`encode` makes by default."""
        return self.embedding.width(self.config.hidden_size) if self.embedding else self.config.hidden_size

    @property
    def max_length(self) -> int:
        """Tokens of a text that :meth:`encode` reads at most, special tokens included."""
        return self._embedding_tokenizer.max_length

    @overload  # one text: (D,), with ``none`` (S, H); a string is an iterable of strings too, but this case
    def encode(  # type: ignore[overload-overlap]
        self,
        texts: str,
        *,
        pooling: Pooling | None = None,
        normalize: bool | None = None,
        dimensions: int | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
    ) -> NDArray[np.float32]: ...
    @overload  # (texts, D)
    def encode(
        self,
        texts: Iterable[str],
        *,
        pooling: VectorPooling | None = None,
        normalize: bool | None = None,
        dimensions: int | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
    ) -> NDArray[np.float32]: ...
    @overload  # (S, H) for each text
    def encode(
        self,
        texts: Iterable[str],
        *,
        pooling: Literal["none"],
        normalize: Literal[False] | None = None,
        dimensions: None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
    ) -> list[NDArray[np.float32]]: ...
    @overload  # for a pooling that is known only at run time
    def encode(
        self,
        texts: Iterable[str],
        *,
        pooling: Pooling | None,
        normalize: bool | None = None,
        dimensions: int | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
    ) -> NDArray[np.float32] | list[NDArray[np.float32]]: ...
    def encode(
        self,
        texts: str | Iterable[str],
        *,
        pooling: Pooling | None = None,
        normalize: bool | None = None,
        dimensions: int | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
    ) -> NDArray[np.float32] | list[NDArray[np.float32]]:
        """Make vectors of texts. If the model came from sentence-transformers, its settings are the defaults.

        These settings also limit how many tokens of a text are read.

        Args:
            texts: one text, or several: a list, an array, a column of a table, a generator. A text may be empty.
            pooling: ``mean`` over the tokens, their ``max``, the ``cls`` token's state, that of the ``lasttoken``,
                ``mean_sqrt_len_tokens``, ``weightedmean``, the ``pooler``'s output, or ``none``. Default: the
                model's setting, or the mean if it has none. With another pooling than the model's own, its dense layers
                are not applied.
            normalize: scale the vectors to length 1. Default: the model's setting, or no if it has none.
            dimensions: how many of a vector's first numbers are kept, for models that were trained for it (matryoshka
                representations). Such vectors are only scaled to length 1 again with ``normalize=True``, as in
                sentence-transformers. Default: the model's setting, or all.
            prompt_name: which of the model's prompts is put in front of the texts. Default: the model's default prompt.
            prompt: words to put in front of the texts instead of a prompt of the model; may be empty.

        Returns:
            (D,) for one text, (texts, D) for several; with ``none`` an array (S, H) for each text. D is
            :attr:`dimension` by default.

        Raises:
            UsageError: a pooling or a prompt is not known, ``dimensions`` is below 1, or a text cannot be used.
            CheckpointError: the model has no pooler.

        Warns:
            TruncationWarning: texts were too long.
            UnknownTextWarning: texts consist of unknown words.
        """
        settings = self.embedding
        recipe = vector_recipe(
            settings,
            pooling=pooling,
            normalize=normalize,
            dimensions=dimensions,
            prompt_name=prompt_name,
            prompt=prompt,
        )
        if not recipe.hidden:
            self._require_pooler()
        several = texts_of([texts] if isinstance(texts, str) else texts, "encode: expected a text or a list of texts")
        vectors = self._run(several, recipe)
        if isinstance(texts, str):
            return vectors[0]
        if pooling == "none":
            return vectors
        return np.stack(vectors) if vectors else recipe.no_vectors(self.config.hidden_size)

    def encode_ids(
        self,
        ids: Iterable[Sequence[int]],
        *,
        pooling: VectorPooling | None = None,
        normalize: bool | None = None,
        dimensions: int | None = None,
    ) -> NDArray[np.float32]:
        """Make vectors of texts that are token ids already. They are read as they are: no prompt, no special token and
        no cut is added.

        Args:
            ids: the ids of each text, special tokens included, as the bundle's own tokenizer gives them.
            pooling, normalize, dimensions: see :meth:`encode`.

        Returns:
            (texts, D).

        Raises:
            UsageError: a text has no ids, or more than :attr:`max_length`; an id is not one of the model's; or a
                setting is not known.
            CheckpointError: the model has no pooler.
        """
        recipe = vector_recipe(
            self.embedding, pooling=pooling, normalize=normalize, dimensions=dimensions, prompt_name=None, prompt=""
        )
        if not recipe.hidden:
            self._require_pooler()
        rows = [self._row_of_ids(own, index, hidden=recipe.hidden) for index, own in enumerate(ids)]
        vectors = self.runner.run(rows, lambda result: recipe.vector(result, 0))
        return np.stack(vectors) if vectors else recipe.no_vectors(self.config.hidden_size)

    def _row_of_ids(self, ids: Sequence[int], index: int, *, hidden: bool) -> Row:
        if not 0 < len(ids) <= self.max_length:
            raise UsageError(
                f"the text at index {index} has {len(ids)} token ids, expected 1 to {self.max_length}",
                "shorten or split the text",
            )
        try:
            input_ids = np.asarray(ids, dtype=np.int64)
        except (TypeError, ValueError, OverflowError) as error:
            raise UsageError(f"the text at index {index} is not a list of token ids", "give whole numbers") from error
        types = np.zeros_like(input_ids)
        return Row(input_ids=input_ids, token_type_ids=types, masked_positions=NO_POSITIONS, hidden=hidden)

    def _run(self, texts: Sequence[str], recipe: VectorRecipe) -> list[NDArray[np.float32]]:
        """The vector of each text."""
        encodings = self._embedding_tokenizer.encode_many(
            [recipe.prompt + text for text in texts], prompt=recipe.prompt
        )
        start = 0 if recipe.pools_prompt or not recipe.prompt else self._prompt_tokens(recipe.prompt)
        rows = [row_of(encoding, hidden=recipe.hidden) for encoding in encodings]
        return self.runner.run(rows, lambda result: recipe.vector(result, start))

    @cached_property
    def _embedding_tokenizer(self) -> Tokenizer:
        """The tokenizer with the maximum length for vectors."""
        settings = self.embedding
        if settings is None or settings.max_seq_length >= self.tokenizer.max_length:
            return self.tokenizer
        return self.tokenizer.with_max_length(settings.max_seq_length)

    def _prompt_tokens(self, prompt: str) -> int:
        """Tokens that a text with this prompt begins with, special tokens included."""
        encoding = self._embedding_tokenizer.encode(prompt)
        return len(encoding.input_ids) - len(self.tokenizer.template.single.special[-1])

    def _require_pooler(self) -> None:
        if not self.has_pooler:
            raise CheckpointError(f"{self.name}: has no pooler", "choose another pooling, such as mean")
