"""The texts of a task, as a file lists them: each row is used whole, with its right answers."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bertedge.data.batches import Layout, masked_batch
from bertedge.data.calibration import text_warnings
from bertedge.data.examples import read_examples
from bertedge.data.held_out import SEED
from bertedge.data.pairs import Pair
from bertedge.data.task_batches import EncodedExample, batched, encoded_examples, task_batches
from bertedge.encoding import about_cut
from bertedge.errors import CorpusError, TruncationWarning
from bertedge.example import Example
from bertedge.heads import Head
from bertedge.heads.parts import Parts
from bertedge.predictor import Batch
from bertedge.tokenizer import Tokenizer

#: Short texts count for less: where N texts are asked for, more are drawn until they have N times so many tokens.
TOKENS_OF_A_TEXT = 128
#: Texts that are encoded at once, and that show whether a file suits the vocabulary.
CHUNK, SHOWN = 256, 2000


@dataclass(frozen=True, kw_only=True)
class TaskText:
    """The examples of a file, or a part of them.

    Attributes:
        tokenizer, parts: those of the model that reads them.
        vocab_size: of the model.
    """

    name: str
    examples: tuple[Example, ...]
    tokenizer: Tokenizer
    parts: Parts
    vocab_size: int

    @property
    def longest(self) -> int:
        """The most tokens of a text that the model's users read; longer ones are cut."""
        return self.parts.longest(self.tokenizer.max_length)

    def why_not(self, head: Head) -> tuple[str, str] | None:
        """Why it cannot show what a head loses, and what helps, in words; None if it can."""
        if head.reads != "pair":
            return None
        if head.task is not None:
            return f"{self.name} holds texts of a task, not {head.task}", "leave the goal out"
        if any(example.pair is not None for example in self.examples):
            return None
        return f"{self.name} holds single texts, not pairs", "name the columns of both texts: --column ONE --column TWO"

    def hold_out(self, share: float) -> tuple[TaskText, TaskText]:
        """The remaining examples, and about ``share`` of them, drawn at random; always the same.

        For a model that orders documents, those of a query stay together.

        Raises:
            CorpusError: there are fewer than two.
        """
        count = len(self.examples)
        if count < 2:
            raise CorpusError(f"{self.name}: has {count} text, too few to hold some out", "give more")
        order = self._order(SEED, whole=True)
        cut = min(max(1, round(share * count)), count - 1)
        while cut < count - 1 and self._of_one_query(self.examples[order[cut]], self.examples[order[cut - 1]]):
            cut += 1
        rest, held_out = ([self.examples[index] for index in sorted(part)] for part in (order[cut:], order[:cut]))
        return replace(self, examples=tuple(rest)), replace(self, examples=tuple(held_out))

    def texts(self, count: int, *, max_length: int, seed: int) -> list[Pair]:
        """``count`` texts or pairs drawn at random, or all if there are fewer.

        Args:
            max_length: longer ones are cut.
        """
        return [one.pair for one in self._drawn(count, 0, max_length, seed)]

    def calibration_texts(self, count: int, *, max_length: int, seed: int) -> list[Pair]:
        """As :meth:`texts`, with as many tokens as ``count`` texts of :data:`TOKENS_OF_A_TEXT` tokens."""
        return [one.pair for one in self._drawn(count, count * TOKENS_OF_A_TEXT, max_length, seed)]

    def sample(self, examples: int, *, max_length: int, seed: int) -> list[Batch]:
        """Batches to measure losses on; drawn as by :meth:`calibration_texts`, and cut at no limit but the model's."""
        tokens = examples * TOKENS_OF_A_TEXT
        batches = self.labelled(examples, tokens=tokens, seed=seed)
        return batches + (self.masked(examples, tokens=tokens, seed=seed) if self.parts.reads_masked else [])

    def labelled(self, examples: int, *, tokens: int = 0, seed: int) -> list[Batch]:
        """Batches with the answers that the file gives.

        Args:
            examples, tokens: draw so many texts at least, with so many tokens, and all documents of a query.

        Warns:
            TruncationWarning: how many texts were longer than the model reads.

        Raises:
            CorpusError: an answer does not fit the model.
        """
        drawn = list(self._drawn(examples, tokens, self.longest, seed, whole=True))
        if cut := sum(one.encoding.truncated for one in drawn):
            told = about_cut(cut, len(drawn), self.longest, self.tokenizer.truncation_side)
            warnings.warn(f"{self.name}: {told}", TruncationWarning, stacklevel=2)
        return task_batches(drawn, self.tokenizer, self.parts, name=self.name)

    def masked(self, examples: int, *, tokens: int = 0, seed: int) -> list[Batch]:
        """Batches of the same texts with masked words, for a head that fills them in."""
        layout, rng = Layout.of(self.tokenizer, self.vocab_size), np.random.default_rng(seed)
        drawn = list(self._drawn(examples, tokens, self.longest, seed))
        return [masked_batch([one.pair for one in group], layout, rng, always_mask=True) for group in batched(drawn)]

    def warnings(self) -> tuple[str, ...]:
        """Warnings about texts that do not suit the tokenizer, a sentence each.

        Raises:
            CorpusError: they have no words, or most of them are unknown to it.
        """
        drawn = self._drawn(SHOWN, 0, self.longest, SEED)
        ids = np.concatenate([[*one.pair.first, *one.pair.second] for one in drawn]).astype(np.int64)
        if not len(ids):
            raise CorpusError(f"{self.name}: the tokenizer finds no word in its texts", "give texts of words")
        return text_warnings(ids, self.tokenizer, self.name)

    def about_reading(self, count: int, *, max_length: int, seed: int) -> tuple[str, ...]:
        """Nothing: rows are drawn without repetition, and a part of them is enough."""
        return ()

    def warn_if_short(self, examples: int, *, max_length: int, seed: int) -> None:
        """Nothing: rows are drawn without repetition."""

    def _order(self, seed: int, *, whole: bool) -> NDArray[np.int64]:
        """The examples in random order; ``whole`` for documents of a query that follow each other."""
        order = np.random.default_rng(seed).permutation(len(self.examples))
        if not (whole and self.parts.orders_documents):
            return order
        places: dict[str, int] = {}
        return order[np.argsort([places.setdefault(self.examples[i].text, len(places)) for i in order], kind="stable")]

    def _of_one_query(self, one: Example, before: Example | None) -> bool:
        return self.parts.orders_documents and before is not None and one.text == before.text

    def _drawn(
        self, count: int, tokens: int, max_length: int, seed: int, *, whole: bool = False
    ) -> Iterator[EncodedExample]:
        tokenizer = self.tokenizer.with_max_length(min(max_length, self.longest))
        order = self._order(seed, whole=whole)
        drawn = read = 0
        last: EncodedExample | None = None
        before: Example | None = None
        for start in range(0, len(order), CHUNK):
            chosen = [self.examples[index] for index in order[start : start + CHUNK]]
            for one in encoded_examples(chosen, tokenizer, self.parts, first=start):
                goes_on = whole and self._of_one_query(one.example, before)
                if drawn >= count and read >= tokens and not (one.is_other_text_of(last) or goes_on):
                    return
                drawn, read = drawn + 1, read + len(one.encoding.input_ids)
                last, before = one, one.example
                yield one


def read_task_text(
    path: Path, tokenizer: Tokenizer, parts: Parts, *, vocab_size: int, columns: Sequence[str] = ()
) -> TaskText:
    """The texts of a file; see :func:`bertedge.data.examples.read_examples`.

    Raises:
        CorpusError: it cannot be read, holds no text, or has a question without a context.
        UsageError: it lacks a column that ``columns`` names.
    """
    examples = tuple(read_examples(path, columns=columns))
    if not examples:
        raise CorpusError(f"{path}: holds no text", "give a file with a text in each row")
    alone = next((one for one in examples if one.pair is None), None)
    if alone is not None and parts.reads_only_questions:
        raise CorpusError(
            f"{path}: line {alone.line} has a question without a context",
            "give each row a question and its context, in columns of these names",
        )
    return TaskText(name=path.name, examples=examples, tokenizer=tokenizer, parts=parts, vocab_size=vocab_size)
