"""A corpus: one sentence a line, a blank line between documents, UTF-8."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bertedge.errors import CorpusError
from bertedge.tokenizer import Tokenizer

#: How many sentences are handed to the tokenizer at once; enough to keep all cores busy.
CHUNK = 2048


def read_sentences(path: Path) -> Iterator[tuple[int, str]]:
    """Yield every sentence of a corpus with the number of the document it stands in.

    Raises:
        CorpusError: the file cannot be read, or is not UTF-8.
    """
    document, between = -1, True
    lines_read = 0
    try:
        with open(path, encoding="utf-8") as file:
            for line in file:
                lines_read += 1
                sentence = line.strip()
                if sentence:
                    document, between = document + between, False
                    yield document, sentence
                else:
                    between = True
    except UnicodeDecodeError as error:
        where = f" after line {lines_read}" if lines_read else ""
        raise CorpusError(f"{path}: not UTF-8{where}", "convert it, for instance with iconv") from error
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror})", "check the path") from error


@dataclass(frozen=True)
class Sentences:
    """The sentences of a corpus, read from its file each time that they are asked for."""

    path: Path

    def __iter__(self) -> Iterator[str]:
        return (sentence for _, sentence in read_sentences(self.path))


@dataclass(frozen=True, kw_only=True)
class TokenizedCorpus:
    """All pieces of a corpus in one flat array, with the places where sentences and documents start.

    The arrays may lie in memory or be mapped from disk (:mod:`bertedge.data.cache`).

    Attributes:
        piece_ids: the WordPiece ids of all sentences, one after another.
        sentence_starts: index in ``piece_ids`` where each sentence starts, and the end of the last one.
        document_starts: index in ``sentence_starts`` where each document starts, and the end of the last one.
        chosen: the documents that belong to this part of the corpus; None for all of them.
        text_sha256: hash of the file that it was read from, where that is known.
    """

    piece_ids: NDArray[np.integer]
    sentence_starts: NDArray[np.int64]
    document_starts: NDArray[np.int64]
    chosen: NDArray[np.int64] | None = None
    text_sha256: str | None = None

    @property
    def num_documents(self) -> int:
        """How many documents there are."""
        return len(self.document_starts) - 1 if self.chosen is None else len(self.chosen)

    @property
    def num_sentences(self) -> int:
        """How many sentences there are."""
        if self.chosen is None:
            return len(self.sentence_starts) - 1
        return int((self.document_starts[self.chosen + 1] - self.document_starts[self.chosen]).sum())

    @property
    def longer_documents(self) -> int:
        """How many documents have a second sentence."""
        sizes = np.diff(self.document_starts)
        return int(np.count_nonzero((sizes if self.chosen is None else sizes[self.chosen]) > 1))

    @property
    def why_no_pairs(self) -> str | None:
        """Why there are no next sentences to tell from random ones, in words; None if there are."""
        if self.num_documents < 2:
            return "is a single document"
        if not self.longer_documents:
            return "has one sentence in every document"
        return None

    def sentence(self, index: int) -> list[int]:
        """The ids of one sentence."""
        return self.piece_ids[self.sentence_starts[index] : self.sentence_starts[index + 1]].tolist()

    def document(self, index: int) -> range:
        """The sentences of one document, as indices."""
        own = index if self.chosen is None else int(self.chosen[index])
        return range(int(self.document_starts[own]), int(self.document_starts[own + 1]))

    def split(self, held_out: int, rng: np.random.Generator) -> tuple[TokenizedCorpus, TokenizedCorpus]:
        """The corpus without ``held_out`` documents drawn by ``rng``, and those documents; nothing is copied."""
        order = rng.permutation(self.num_documents).astype(np.int64)
        own = order if self.chosen is None else self.chosen[order]
        return replace(self, chosen=np.sort(own[held_out:])), replace(self, chosen=np.sort(own[:held_out]))


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Some sentences in a row: their ids one after another, the length of each, and its document."""

    piece_ids: NDArray[np.int32]
    lengths: NDArray[np.int64]
    documents: NDArray[np.int64]


def tokenized_chunks(path: Path, tokenizer: Tokenizer) -> Iterator[Chunk]:
    """Read and tokenize a corpus piece by piece, in memory that does not grow with it.

    A line of characters that nobody sees, such as a byte order mark, is no sentence.

    Raises:
        CorpusError: there is no sentence in it.
    """
    found = False
    for members in _chunked(read_sentences(path), CHUNK):
        owners, sentences = zip(*members, strict=True)
        ids = tokenizer.pieces_many(sentences)
        lengths = np.array([len(pieces) for pieces in ids], dtype=np.int64)
        kept = np.flatnonzero(lengths)
        if len(kept):
            found = True
            yield Chunk(
                piece_ids=np.concatenate([np.asarray(ids[i], dtype=np.int32) for i in kept]),
                lengths=lengths[kept],
                documents=np.asarray(owners, dtype=np.int64)[kept],
            )
    if not found:
        raise CorpusError(f"{path}: holds no text", "one sentence a line, a blank line between documents")


def tokenize_corpus(path: Path, tokenizer: Tokenizer) -> TokenizedCorpus:
    """Read and tokenize a corpus into memory.

    Raises:
        CorpusError: there is no sentence in it.
    """
    chunks = list(tokenized_chunks(path, tokenizer))
    lengths = np.concatenate([chunk.lengths for chunk in chunks])
    documents = np.concatenate([chunk.documents for chunk in chunks])
    starts = np.flatnonzero(np.diff(documents)) + 1
    return TokenizedCorpus(
        piece_ids=np.concatenate([chunk.piece_ids for chunk in chunks]),
        sentence_starts=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        document_starts=np.concatenate([[0], starts, [len(lengths)]]).astype(np.int64),
    )


def _chunked(sentences: Iterable[tuple[int, str]], size: int) -> Iterator[list[tuple[int, str]]]:
    chunk: list[tuple[int, str]] = []
    for sentence in sentences:
        chunk.append(sentence)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
