"""A tokenized corpus on disk, mapped into memory.

The folder's name is a hash of the text, of the way it is read and of the tokenizer, so a cache is never out of date.
It is written and read in chunks, in memory that does not grow with the corpus. The hash of every array is stored and
checked when the cache is opened (a second or two for a gigabyte), so a damaged cache is made again.
"""

from __future__ import annotations

import hashlib
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from bertedge.data.corpus import Chunk, TokenizedCorpus, tokenized_chunks
from bertedge.data.text_files import suffix_of, text_sha256
from bertedge.errors import BertEdgeError, FileError
from bertedge.files import new_folder, sha256
from bertedge.records import from_json, read_json, write_json
from bertedge.tokenizer import Tokenizer

_log = logging.getLogger(__name__)
SCHEMA_VERSION = 2
#: Version of the reader. Increase it if the same file gives other sentences or documents, or if the arrays change.
READER = 3
DESCRIPTION = "corpus.json"
ARRAYS = ("token_ids", "sentence_starts", "document_starts")
MADE_AGAIN = "the next use makes it again"
#: Ids of a vocabulary up to this size take two bytes.
SMALL_VOCABULARY = 2**16


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a cache folder holds: the sizes of the arrays, their sources, and the hash of each array's file."""

    schema_version: int
    corpus_sha256: str
    tokenizer_sha256: str
    token_dtype: Literal["uint16", "int32"]
    tokens: int
    sentences: int
    documents: int
    sha256: dict[str, str]


def user_cache() -> Path:
    """``$XDG_CACHE_HOME/bertedge``, by default below ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bertedge"


def default_cache() -> Path:
    """Where tokenized corpora are kept: ``corpora`` in :func:`user_cache`."""
    return user_cache() / "corpora"


def cached_corpus(path: Path, tokenizer: Tokenizer, cache: Path | None = None) -> TokenizedCorpus:
    """A corpus whose arrays are mapped from a cache folder; it is tokenized on first use.

    Args:
        cache: the folder of all caches; default: :func:`default_cache`.

    Raises:
        CorpusError: the corpus cannot be read or holds no text.
        FileError: the cache cannot be written.
    """
    text = text_sha256(path)
    parts = f"{READER} {suffix_of(path)} {text} {tokenizer.sha256}"
    folder = (cache or default_cache()) / hashlib.sha256(parts.encode()).hexdigest()[:32]
    if (folder / DESCRIPTION).is_file():
        try:
            return _open(folder, text, tokenizer)
        except BertEdgeError as error:
            _log.warning("making the damaged token cache again: %s", error.message)
    _write(folder, path, tokenizer, text)
    return _open(folder, text, tokenizer)


def _write(folder: Path, path: Path, tokenizer: Tokenizer, corpus_sha256: str) -> None:
    dtype: Literal["uint16", "int32"] = "uint16" if tokenizer.vocab_size <= SMALL_VOCABULARY else "int32"
    with new_folder(folder, force=True) as scratch:
        with (
            open(scratch / "token_ids", "wb") as token_ids,
            open(scratch / "sentence_starts", "wb") as sentence_starts,
            open(scratch / "document_starts", "wb") as document_starts,
        ):
            tokens, sentences, documents, last = 0, 0, 0, -1
            for chunk in tokenized_chunks(path, tokenizer):
                chunk.token_ids.astype(dtype).tofile(token_ids)
                (tokens + np.concatenate([[0], np.cumsum(chunk.lengths)[:-1]])).astype(np.int64).tofile(sentence_starts)
                starts = _document_starts(chunk, last)
                (sentences + starts).tofile(document_starts)
                tokens, sentences = tokens + len(chunk.token_ids), sentences + len(chunk.lengths)
                documents, last = documents + len(starts), int(chunk.documents[-1])
            np.array([tokens], dtype=np.int64).tofile(sentence_starts)
            np.array([sentences], dtype=np.int64).tofile(document_starts)
        description = Description(
            schema_version=SCHEMA_VERSION,
            corpus_sha256=corpus_sha256,
            tokenizer_sha256=tokenizer.sha256,
            token_dtype=dtype,
            tokens=tokens,
            sentences=sentences,
            documents=documents,
            sha256={name: sha256(scratch / name) for name in ARRAYS},
        )
        write_json(scratch / DESCRIPTION, description)


def _document_starts(chunk: Chunk, last: int) -> NDArray[np.int64]:
    """The sentences of a chunk that start a document; ``last`` is the document of the sentence before the chunk."""
    return np.flatnonzero(np.diff(chunk.documents, prepend=last)).astype(np.int64)


def _open(folder: Path, corpus_sha256: str, tokenizer: Tokenizer) -> TokenizedCorpus:
    """Map a complete cache of this text and this tokenizer.

    Raises:
        FileError: it is incomplete, damaged, or was made from another text or with another tokenizer.
    """
    description = from_json(Description, read_json(folder / DESCRIPTION), str(folder / DESCRIPTION))
    made_of = (description.schema_version, description.corpus_sha256, description.tokenizer_sha256)
    if made_of != (SCHEMA_VERSION, corpus_sha256, tokenizer.sha256):
        raise FileError(f"{folder}: was made from another text or with another tokenizer", MADE_AGAIN)
    corpus = TokenizedCorpus(
        token_ids=_mapped(folder / "token_ids", description.token_dtype, description.tokens),
        sentence_starts=_mapped(folder / "sentence_starts", np.int64, description.sentences + 1),
        document_starts=_mapped(folder / "document_starts", np.int64, description.documents + 1),
        template=tokenizer.template,
        text_sha256=corpus_sha256,
    )
    for name in ARRAYS:
        if sha256(folder / name) != description.sha256.get(name):
            raise FileError(f"{folder / name}: was changed after it was written", MADE_AGAIN)
    return corpus


def _mapped(path: Path, dtype: DTypeLike, count: int) -> NDArray[Any]:
    """A file as a read-only array; only the parts that are read take memory."""
    if not path.is_file() or path.stat().st_size != count * np.dtype(dtype).itemsize:
        raise FileError(f"{path}: is missing or cut off", MADE_AGAIN)
    return np.asarray(np.memmap(path, dtype=dtype, mode="r", shape=(count,)))
