"""A corpus: one sentence a line, a blank line between documents, UTF-8; or rows of JSON Lines and CSV.

A line with more tokens than :data:`LONG_LINE` is cut into its sentences, and a sentence that is still too long into
stretches of equal length. If a file has no blank lines and most of its text is in long lines, each line is a document.
"""

from __future__ import annotations

import io
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bertedge.data.examples import texts_of
from bertedge.data.rows import rows_of
from bertedge.data.sentences import line_or_sentences, split_sentences
from bertedge.data.text_files import BLOCK, TextFile, open_text
from bertedge.errors import CorpusError
from bertedge.template import Template
from bertedge.tokenizer import Tokenizer

#: Sentences, and characters, that the tokenizer gets at once; enough to keep all cores busy.
CHUNK, CHUNK_CHARACTERS = 2048, 2**18
#: Longer lines are cut, in tokens. The longest line of the built-in text has 136.
LONG_LINE = 160
#: Longer sentences are cut into parts of at most this many tokens.
STRETCH = 64
#: A line of more characters is hardly a single sentence.
LONG_PARAGRAPH = 400


def read_sentences(path: Path) -> Iterator[tuple[int, str]]:
    """Yield every sentence of a corpus, with the number of its document.

    A line is a sentence, unless it has more than :data:`bertedge.data.text_files.BLOCK` characters; then it is cut.

    Raises:
        CorpusError: the file cannot be read, is not UTF-8, or is not text.
    """
    document, between = -1, True
    with open_text(path) as file:
        for new_document, line in _lines(file):
            between = between or new_document
            for sentence in line_or_sentences(line):
                if sentence:
                    document, between = document + between, False
                    yield document, sentence
                else:
                    between = True


def _lines(file: TextFile) -> Iterator[tuple[bool, Iterator[tuple[str, bool]]]]:
    """Whether each line begins a document, and its parts. Read all parts of a line before you ask for the next line."""
    rows = rows_of(file)
    if rows is None:
        parts = file.parts()
        each = _a_document_in_each_line(file.beginning)
        for first in parts:
            yield each, _line(first, parts)
        return
    for text in texts_of(file, rows):
        lines = [line for line in io.StringIO(text, newline=None) if line.strip()]  # a row is one document
        for index, line in enumerate(lines):
            parts = (line[start : start + BLOCK] for start in range(0, len(line), BLOCK))
            yield index == 0, _line(next(parts), parts)


def layout_of(path: Path) -> str:
    """How a file is read, in words.

    Raises:
        CorpusError: it cannot be read, or is not text.
    """
    with open_text(path) as file:
        if rows_of(file) is not None:
            return "a document in each row"
        return f"a {'document' if _a_document_in_each_line(file.beginning) else 'sentence'} in each line"


def _line(first: str, parts: Iterator[str]) -> Iterator[tuple[str, bool]]:
    """The parts of a line, and for each whether it is the last."""
    part: str | None = first
    while part is not None:
        ended = part.endswith("\n") or len(part) < BLOCK
        yield part, ended
        part = None if ended else next(parts, None)


def _a_document_in_each_line(beginning: str) -> bool:
    """Whether there is no blank line, and more than half of the text is in long lines."""
    lines = beginning.strip().split("\n")
    long = sum(len(line) for line in lines if len(line) > LONG_PARAGRAPH)
    return all(line.strip() for line in lines) and 2 * long > len(beginning)


@dataclass(frozen=True)
class Sentences:
    """The sentences of a corpus, read from its file for each iteration."""

    path: Path

    def __iter__(self) -> Iterator[str]:
        return (sentence for _, sentence in read_sentences(self.path))


@dataclass(frozen=True, kw_only=True)
class TokenizedCorpus:
    """All tokens of a corpus in one flat array, with the places where sentences and documents start.

    The arrays are in memory or mapped from disk (:mod:`bertedge.data.cache`).

    Attributes:
        token_ids: the ids of all sentences, one after another, without special tokens.
        sentence_starts: index in ``token_ids`` where each sentence starts, and the end of the last one.
        document_starts: index in ``sentence_starts`` where each document starts, and the end of the last one.
        template: the special tokens that the tokenizer puts around these texts.
        chosen: the documents that belong to this part of the corpus; None for all of them.
        text_sha256: hash of the file that it was read from, where that is known.
    """

    token_ids: NDArray[np.integer]
    sentence_starts: NDArray[np.int64]
    document_starts: NDArray[np.int64]
    template: Template
    chosen: NDArray[np.int64] | None = None
    text_sha256: str | None = None

    @property
    def num_documents(self) -> int:
        """The number of documents."""
        return len(self.document_starts) - 1 if self.chosen is None else len(self.chosen)

    @property
    def num_sentences(self) -> int:
        """The number of sentences."""
        if self.chosen is None:
            return len(self.sentence_starts) - 1
        return int((self.document_starts[self.chosen + 1] - self.document_starts[self.chosen]).sum())

    @property
    def num_tokens(self) -> int:
        """The number of tokens."""
        sizes = np.diff(self.sentence_starts[self.document_starts])
        return int((sizes if self.chosen is None else sizes[self.chosen]).sum())

    @cached_property
    def longer_documents(self) -> NDArray[np.int64] | range:
        """The documents with more than one sentence, in ascending order."""
        sizes = np.diff(self.document_starts)
        longer = np.flatnonzero((sizes if self.chosen is None else sizes[self.chosen]) > 1).astype(np.int64)
        return range(self.num_documents) if len(longer) == self.num_documents else longer

    @property
    def why_no_pairs(self) -> str | None:
        """The reason why the corpus gives no labelled pairs, in words; None if it gives some."""
        if self.num_documents < 2:
            return "is a single document"
        if not len(self.longer_documents):
            return "has one sentence in every document"
        if len(self.longer_documents) < 2:
            return "has one sentence in every document but one"
        return None

    def sentence(self, index: int) -> list[int]:
        """The ids of one sentence."""
        return self.token_ids[self.sentence_starts[index] : self.sentence_starts[index + 1]].tolist()

    def document(self, index: int) -> range:
        """The indices of one document's sentences."""
        own = index if self.chosen is None else int(self.chosen[index])
        return range(int(self.document_starts[own]), int(self.document_starts[own + 1]))

    def split(self, held_out: int, rng: np.random.Generator) -> tuple[TokenizedCorpus, TokenizedCorpus]:
        """The corpus without ``held_out`` documents that ``rng`` draws, and these documents. Nothing is copied."""
        order = rng.permutation(self.num_documents).astype(np.int64)
        own = order if self.chosen is None else self.chosen[order]
        return replace(self, chosen=np.sort(own[held_out:])), replace(self, chosen=np.sort(own[:held_out]))

    def divided(self, tokens: int) -> TokenizedCorpus:
        """The same text with long documents divided into parts of about ``tokens`` tokens. Nothing is copied.

        A part is made of whole sentences, so it may be one sentence longer.
        """
        starts, sizes = self.sentence_starts, np.diff(self.sentence_starts[self.document_starts])
        if (sizes if self.chosen is None else sizes[self.chosen]).max(initial=0) <= tokens:
            return self
        edges, chosen = [0], []
        for index in range(self.num_documents):
            sentences = self.document(index)
            first, last = int(starts[sentences.start]), int(starts[sentences.stop])
            count = -(-(last - first) // tokens)
            inside = np.searchsorted(starts, [first + part * (last - first) // count for part in range(1, count)])
            if edges[-1] != sentences.start:  # skips documents that are not chosen
                edges.append(sentences.start)
            for stop in sorted({*map(int, inside), sentences.stop} - {sentences.start}):
                chosen.append(len(edges) - 1)
                edges.append(stop)
        return replace(self, document_starts=np.array(edges), chosen=np.array(chosen))


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Consecutive sentences: their ids one after another, the length of each, and its document."""

    token_ids: NDArray[np.int32]
    lengths: NDArray[np.int64]
    documents: NDArray[np.int64]


def tokenized_chunks(path: Path, tokenizer: Tokenizer) -> Iterator[Chunk]:
    """Read and tokenize a corpus in chunks, in memory that does not grow with it.

    A line without a token, such as a byte order mark, is skipped.

    Raises:
        CorpusError: there is no sentence in it.
    """
    found = False
    continuation = tokenizer.continuation(tokenizer.vocab_size)
    for members in _chunked(read_sentences(path)):
        sentences = [sentence for _, sentence in members]
        owners = np.array([document for document, _ in members], dtype=np.int64)
        ids = tokenizer.token_ids_many(sentences)
        lengths = np.array([len(tokens) for tokens in ids], dtype=np.int64)
        if lengths.max() > LONG_LINE:
            cut = [_cut(line, tokens, tokenizer, continuation) for line, tokens in zip(sentences, ids, strict=True)]
            owners = np.repeat(owners, [len(stretches) for stretches in cut])
            ids = list(chain.from_iterable(cut))
            lengths = np.array([len(tokens) for tokens in ids], dtype=np.int64)
        kept = np.flatnonzero(lengths)
        if len(kept):
            found = True
            yield Chunk(
                token_ids=np.concatenate([np.asarray(ids[i], dtype=np.int32) for i in kept]),
                lengths=lengths[kept],
                documents=owners[kept],
            )
    if not found:
        raise CorpusError(f"{path}: holds no text", "one sentence a line, a blank line between documents")


def _cut(sentence: str, tokens: list[int], tokenizer: Tokenizer, continuation: NDArray[np.bool_]) -> list[list[int]]:
    """The tokens of a line, sentence by sentence. Sentences that are too long are cut into parts of equal length."""
    if len(tokens) <= LONG_LINE:
        return [tokens]
    cut = []
    for part in tokenizer.token_ids_many(split_sentences(sentence)):
        count = -(-len(part) // STRETCH) if len(part) > LONG_LINE else 1
        edges = [_word_start(part, index * len(part) // count, continuation) for index in range(count)]
        cut += [part[start:stop] for start, stop in pairwise([*edges, len(part)])]
    return cut


def _word_start(tokens: list[int], place: int, continuation: NDArray[np.bool_]) -> int:
    """The index where the word at a position begins; the position itself if the word is very long."""
    start = place
    while start > max(place - STRETCH // 2, 0) and continuation[tokens[start]]:
        start -= 1
    return place if continuation[tokens[start]] and start else start


def tokenize_corpus(path: Path, tokenizer: Tokenizer) -> TokenizedCorpus:
    """Read and tokenize a corpus into memory.

    Raises:
        CorpusError: there is no sentence in it.
    """
    ids, lengths, documents = array("i"), array("q"), array("q")  # arrays that grow without a second copy of the text
    for chunk in tokenized_chunks(path, tokenizer):
        ids.frombytes(chunk.token_ids.tobytes())
        lengths.frombytes(chunk.lengths.tobytes())
        documents.frombytes(chunk.documents.tobytes())
    starts = np.flatnonzero(np.diff(np.asarray(documents))) + 1
    return TokenizedCorpus(
        token_ids=np.asarray(ids),
        sentence_starts=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        document_starts=np.concatenate([[0], starts, [len(lengths)]]).astype(np.int64),
        template=tokenizer.template,
    )


def _chunked(sentences: Iterable[tuple[int, str]]) -> Iterator[list[tuple[int, str]]]:
    chunk: list[tuple[int, str]] = []
    characters = 0
    for sentence in sentences:
        chunk.append(sentence)
        characters += len(sentence[1])
        if len(chunk) >= CHUNK or characters >= CHUNK_CHARACTERS:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk
