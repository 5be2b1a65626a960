"""A corpus: one sentence a line, a blank line between documents, UTF-8."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bertedge.errors import CorpusError
from bertedge.tokenizer import Tokenizer

#: How many sentences are handed to the tokenizer at once; enough to keep all cores busy.
CHUNK = 8192


def read_documents(path: Path) -> Iterator[list[str]]:
    """Yield the documents of a corpus as lists of sentences, one at a time.

    Raises:
        CorpusError: the file cannot be read, or is not UTF-8.
    """
    document: list[str] = []
    lines_read = 0
    try:
        with open(path, encoding="utf-8") as file:
            for line in file:
                lines_read += 1
                sentence = line.strip()
                if sentence:
                    document.append(sentence)
                elif document:
                    yield document
                    document = []
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{path}: not UTF-8 after line {lines_read}", "convert it, for instance with iconv"
        ) from error
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror})", "check the path") from error
    if document:
        yield document


@dataclass(frozen=True, kw_only=True)
class TokenizedCorpus:
    """All pieces of a corpus in one flat array, with the places where sentences and documents start.

    Attributes:
        piece_ids: the WordPiece ids of all sentences, one after another.
        sentence_starts: index in ``piece_ids`` where each sentence starts, and the end of the last one.
        document_starts: index in ``sentence_starts`` where each document starts, and the end of the last one.
    """

    piece_ids: NDArray[np.int32]
    sentence_starts: NDArray[np.int64]
    document_starts: NDArray[np.int64]

    @property
    def num_documents(self) -> int:
        """How many documents there are."""
        return len(self.document_starts) - 1

    @property
    def num_sentences(self) -> int:
        """How many sentences there are."""
        return len(self.sentence_starts) - 1

    def sentence(self, index: int) -> list[int]:
        """The ids of one sentence."""
        return self.piece_ids[self.sentence_starts[index] : self.sentence_starts[index + 1]].tolist()

    def document(self, index: int) -> range:
        """The sentences of one document, as indices."""
        return range(int(self.document_starts[index]), int(self.document_starts[index + 1]))


def tokenize_corpus(path: Path, tokenizer: Tokenizer) -> TokenizedCorpus:
    """Read and tokenize a corpus.

    Raises:
        CorpusError: there is no sentence in it.
    """
    sentences: list[str] = []
    owners: list[int] = []  # the document of each sentence
    for number, document in enumerate(read_documents(path)):
        sentences.extend(document)
        owners.extend([number] * len(document))
    ids: list[NDArray[np.int32]] = []
    lengths: list[int] = []
    for start in range(0, len(sentences), CHUNK):
        for pieces in tokenizer.pieces_many(sentences[start : start + CHUNK]):
            ids.append(np.asarray(pieces, dtype=np.int32))
            lengths.append(len(pieces))
    # a line of characters that nobody sees, such as a byte order mark, is no sentence
    kept = np.flatnonzero(lengths)
    if not len(kept):
        raise CorpusError(f"{path}: holds no text", "one sentence a line, a blank line between documents")
    owner_of_kept = np.asarray(owners)[kept]
    return TokenizedCorpus(
        piece_ids=np.concatenate(ids),
        sentence_starts=np.concatenate([[0], np.cumsum(np.asarray(lengths)[kept])]).astype(np.int64),
        document_starts=np.concatenate([[0], np.flatnonzero(np.diff(owner_of_kept)) + 1, [len(kept)]]).astype(np.int64),
    )
