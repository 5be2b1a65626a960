"""The text that a model is calibrated and measured on: running text, or the texts of its task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeVar

from bertedge.data.batches import Layout, Walk
from bertedge.data.calibration import default_text, mixed_texts, reading_warnings, text_warnings
from bertedge.data.corpus import TokenizedCorpus, tokenize_corpus
from bertedge.data.examples import has_rows
from bertedge.data.held_out import drawn_sample, hold_out, warn_if_short
from bertedge.data.pairs import Pair
from bertedge.data.task_text import read_task_text
from bertedge.data.walks import pair_walk
from bertedge.errors import UsageError
from bertedge.heads import Head
from bertedge.heads.parts import Parts
from bertedge.predictor import Batch
from bertedge.tokenizer import Tokenizer

Source = TypeVar("Source", bound="TextSource")


class TextSource(Protocol):
    """A text, from which calibration texts and samples to measure losses on are drawn.

    Attributes:
        name: of its file.
    """

    @property
    def name(self) -> str: ...

    def why_not(self, head: Head) -> tuple[str, str] | None:
        """Why it cannot show what a head loses, and what helps, in words; None if it can."""
        ...

    def hold_out(self: Source, share: float) -> tuple[Source, Source]:
        """The remaining text, and about ``share`` of it that is held out; always the same.

        Raises:
            CorpusError: it is too short for two parts.
        """
        ...

    def texts(self, count: int, *, max_length: int, seed: int) -> list[Pair]:
        """``count`` texts or pairs of at most ``max_length`` tokens; fewer if there are not so many."""
        ...

    def calibration_texts(self, count: int, *, max_length: int, seed: int) -> list[Pair]:
        """At least as many texts, so that they have enough tokens to observe ranges."""
        ...

    def sample(self, examples: int, *, max_length: int, seed: int) -> list[Batch]:
        """Batches to measure losses on."""
        ...

    def warnings(self) -> tuple[str, ...]:
        """Warnings about a text that does not suit the model, a sentence each.

        Raises:
            CorpusError: most of its words are unknown to the tokenizer.
        """
        ...

    def about_reading(self, count: int, *, max_length: int, seed: int) -> tuple[str, ...]:
        """A warning if :meth:`calibration_texts` reads little of it, or reads the same text often."""
        ...

    def warn_if_short(self, examples: int, *, max_length: int, seed: int) -> None:
        """Warn if :meth:`sample` reads the text more than once."""
        ...


@dataclass(frozen=True, kw_only=True)
class RunningText:
    """Documents of sentences, from which texts of many lengths are cut.

    Attributes:
        pairs: cuts the text into pairs; None for a model of single texts.
    """

    name: str
    corpus: TokenizedCorpus
    tokenizer: Tokenizer
    layout: Layout
    pairs: Walk | None

    def why_not(self, head: Head) -> tuple[str, str] | None:
        reason = self.corpus.why_no_pairs if head.needs_documents else None
        if reason is None:
            return None
        return f"{self.name} {reason}", "put a blank line between documents of several sentences"

    def hold_out(self, share: float) -> tuple[RunningText, RunningText]:
        rest, held_out = hold_out(self.corpus, share)
        name = f"the part of {self.name} that is held out"
        return replace(self, corpus=rest), replace(self, corpus=held_out, name=name)

    def texts(self, count: int, *, max_length: int, seed: int) -> list[Pair]:
        return self._mixed(self.corpus, count, max_length, seed)

    def calibration_texts(self, count: int, *, max_length: int, seed: int) -> list[Pair]:
        return self.texts(count, max_length=max_length, seed=seed)

    def sample(self, examples: int, *, max_length: int, seed: int) -> list[Batch]:
        return drawn_sample(
            self.corpus, self.layout, examples=examples, max_length=max_length, seed=seed, pairs=self.pairs
        )

    def warnings(self) -> tuple[str, ...]:
        return text_warnings(self.corpus.token_ids, self.tokenizer, self.name)

    def about_reading(self, count: int, *, max_length: int, seed: int) -> tuple[str, ...]:
        return reading_warnings(self.corpus, lambda places: self._mixed(places, count, max_length, seed), self.name)

    def warn_if_short(self, examples: int, *, max_length: int, seed: int) -> None:
        warn_if_short(
            self.corpus, examples=examples, max_length=max_length, seed=seed, pairs=self.pairs, name=self.name
        )

    def _mixed(self, corpus: TokenizedCorpus, count: int, max_length: int, seed: int) -> list[Pair]:
        return mixed_texts(corpus, count, max_length=max_length, seed=seed, pairs=self.pairs)


def read_text(
    path: str | Path | None, tokenizer: Tokenizer, parts: Parts, *, vocab_size: int, columns: Sequence[str] = ()
) -> TextSource:
    """The text of a file, as a model reads it.

    For a model with a head that needs labels, such as a classifier, every row of a user's file is a text or a pair of
    its task. So are the rows of CSV, JSON Lines and CoNLL files for a model without heads. Other text is running text.

    Args:
        path: None for the built-in text.
        vocab_size: of the model.
        columns: see :func:`bertedge.data.examples.read_examples`.

    Raises:
        CorpusError: the file cannot be read, or holds no text.
        UsageError: ``columns`` names columns that the file does not have, or of running text.
    """
    if path is not None and is_task_text(Path(path), parts):
        return read_task_text(Path(path), tokenizer, parts, vocab_size=vocab_size, columns=columns)
    if columns:
        raise UsageError(
            "--column: names columns, but this model is calibrated with running text",
            "leave it out; a file's text is read from its column 'text'",
        )
    file = Path(path or default_text())
    return RunningText(
        name=file.name,
        corpus=tokenize_corpus(file, tokenizer),
        tokenizer=tokenizer,
        layout=Layout.of(tokenizer, vocab_size, masks=parts.reads_masked),
        pairs=pair_walk(parts),
    )


def is_task_text(path: Path, parts: Parts) -> bool:
    """Whether a file's rows are texts of a model's task.

    Raises:
        CorpusError: it cannot be read.
    """
    in_any_file = parts.needs_labels and not parts.reads_only_questions  # a line of plain text is no question
    in_rows = parts.reads_only_questions or not parts.heads
    return in_any_file or (in_rows and has_rows(path))
