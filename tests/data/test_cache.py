"""A corpus on disk is the corpus in memory, in memory that does not grow with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bertedge.data import cache as cache_module
from bertedge.data import corpus as corpus_module
from bertedge.data.cache import ARRAYS, cached_corpus
from bertedge.data.corpus import TokenizedCorpus, tokenize_corpus
from bertedge.errors import CorpusError, FileError
from bertedge.tokenizer import Tokenizer

words = st.lists(st.sampled_from(["the", "cat", "sat", "door", "\ufeff"]), min_size=1, max_size=5).map(" ".join)


def same(one: TokenizedCorpus, other: TokenizedCorpus) -> None:
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(words, min_size=1, max_size=4), min_size=1, max_size=5), st.integers(1, 4))
def test_the_cache_holds_what_memory_would(
    tmp_path: Path, tokenizer: Tokenizer, documents: list[list[str]], chunk: int
) -> None:
    path = tmp_path / "corpus.txt"
    path.write_text("\n\n".join(map("\n".join, documents)) + "\nthe end", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus_module, "CHUNK", chunk)
        cached = cached_corpus(path, tokenizer, tmp_path / "cache")
    same(cached, tokenize_corpus(path, tokenizer))


def test_the_second_use_does_not_tokenize(
    corpus_file: Path, tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = cached_corpus(corpus_file, tokenizer, tmp_path)
    monkeypatch.setattr(cache_module, "tokenized_chunks", None)
    same(first, cached_corpus(corpus_file, tokenizer, tmp_path))


def test_another_text_or_tokenizer_is_another_cache(corpus_file: Path, tokenizer: Tokenizer, tmp_path: Path) -> None:
    other_text = tmp_path / "other.txt"
    other_text.write_text("The cat sat.")
    other_tokenizer = Tokenizer.train(["the cat sat on a mat"], vocab_size=60)
    assert tokenizer.sha256 != other_tokenizer.sha256
    for text, pieces in ((corpus_file, tokenizer), (other_text, tokenizer), (corpus_file, other_tokenizer)):
        same(cached_corpus(text, pieces, tmp_path / "cache"), tokenize_corpus(text, pieces))
    assert len(list((tmp_path / "cache").iterdir())) == 3


def test_the_same_bytes_read_in_another_way_are_another_cache(tokenizer: Tokenizer, tmp_path: Path) -> None:
    for name, sentences in (("corpus.txt", 2), ("corpus.csv", 1)):
        (tmp_path / name).write_text("text\nthe cat\n")
        assert cached_corpus(tmp_path / name, tokenizer, tmp_path / "cache").num_sentences == sentences


@pytest.mark.parametrize("name", [*ARRAYS, "corpus.json"])
def test_a_broken_cache_is_made_again(corpus_file: Path, tokenizer: Tokenizer, tmp_path: Path, name: str) -> None:
    whole = tokenize_corpus(corpus_file, tokenizer)
    cached_corpus(corpus_file, tokenizer, tmp_path)
    (folder,) = tmp_path.iterdir()
    with open(folder / name, "r+b") as file:
        file.truncate(5)
    same(cached_corpus(corpus_file, tokenizer, tmp_path), whole)


@pytest.mark.parametrize("name", ARRAYS)
def test_a_changed_array_is_noticed(
    corpus_file: Path, tokenizer: Tokenizer, tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Of the same length, and with every number in its range: training would read another text."""
    whole = cached_corpus(corpus_file, tokenizer, tmp_path)
    (folder,) = tmp_path.iterdir()
    array = np.fromfile(folder / name, dtype=getattr(whole, name).dtype)
    array[1] += 1 if name == "token_ids" else -1
    array.tofile(folder / name)
    same(cached_corpus(corpus_file, tokenizer, tmp_path), tokenize_corpus(corpus_file, tokenizer))
    assert f"{name}: was changed after it was written" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


@pytest.mark.parametrize(
    "change",
    [{"token_dtype": "object"}, {"tokens": -1}, {"sha256": None}, {"corpus_sha256": "0"}, {"schema_version": 1}],
    ids=str,
)
def test_a_changed_description_is_noticed(
    corpus_file: Path, tokenizer: Tokenizer, tmp_path: Path, change: dict[str, object]
) -> None:
    cached_corpus(corpus_file, tokenizer, tmp_path)
    (folder,) = tmp_path.iterdir()
    whole = json.loads((folder / "corpus.json").read_text())
    (folder / "corpus.json").write_text(json.dumps({**whole, **change}))
    same(cached_corpus(corpus_file, tokenizer, tmp_path), tokenize_corpus(corpus_file, tokenizer))
    assert json.loads((folder / "corpus.json").read_text()) == whole


@pytest.mark.parametrize(("content", "told"), [(b"\n\n", "holds no text"), (b"\xff\xff", "not UTF-8"), (None, "read")])
def test_what_is_no_corpus_leaves_no_cache(
    tmp_path: Path, tokenizer: Tokenizer, content: bytes | None, told: str
) -> None:
    if content is not None:
        (tmp_path / "corpus.txt").write_bytes(content)
    with pytest.raises(CorpusError, match=told):
        cached_corpus(tmp_path / "corpus.txt", tokenizer, tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*")) if (tmp_path / "cache").exists() else True


def test_a_place_that_cannot_be_written(corpus_file: Path, tokenizer: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="file"):
        cached_corpus(corpus_file, tokenizer, tmp_path / "file" / "cache")


def test_documents_are_held_out_without_a_copy(corpus_file: Path, tokenizer: Tokenizer) -> None:
    whole = tokenize_corpus(corpus_file, tokenizer)
    rest, held_out = whole.split(1, np.random.default_rng(0))
    assert (rest.num_documents, held_out.num_documents) == (3, 1)
    assert rest.num_sentences + held_out.num_sentences == whole.num_sentences
    assert rest.token_ids is whole.token_ids
    spans = {part.document(i) for part in (rest, held_out) for i in range(part.num_documents)}
    assert spans == {whole.document(i) for i in range(4)}


CAPPED = """
import resource, sys
from pathlib import Path
from bertedge.data.cache import ARRAYS, cached_corpus
from bertedge.data.stream import PairStream
from bertedge.tokenizer import Tokenizer

def data_bytes():
    fields = dict(line.split(":") for line in open("/proc/self/status") if ":" in line)
    return int(fields["VmData"].split()[0]) * 1024

tokenizer = Tokenizer.load(Path(sys.argv[2]))
tokenizer.token_ids_many(["warm up and be warm"] * 2048)
resource.setrlimit(resource.RLIMIT_DATA, (data_bytes() + int(sys.argv[4]),) * 2)
corpus = cached_corpus(Path(sys.argv[1]), tokenizer, Path(sys.argv[3]))
stream = PairStream(corpus, max_length=64, seed=0, window=256)
for _ in range(50):
    stream.take(32)
print(corpus.num_documents, corpus.num_sentences)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="RLIMIT_DATA counts private memory on Linux only")
def test_a_corpus_larger_than_memory(tmp_path: Path, tokenizer: Tokenizer) -> None:
    """The text is three times the memory that the process may have beyond what it has at the start.

    Ten times takes a minute: ``benchmarks/corpus_memory.py``.
    """
    spare = 12 * 2**20
    line = "The cat sat on the mat and the ship left the port at dawn while nobody came to the door.\n"
    document = line * 50 + "\n"
    path = tmp_path / "large.txt"
    with open(path, "w", encoding="utf-8") as file:
        for _ in range(3 * spare // len(document) + 1):
            file.write(document)
    assert path.stat().st_size >= 3 * spare
    tokenizer.save(tmp_path)
    command = [sys.executable, "-c", CAPPED, path, tmp_path, tmp_path / "cache", spare]
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        env={**os.environ, "RAYON_NUM_THREADS": "2", "MALLOC_ARENA_MAX": "2"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="RLIMIT_DATA counts private memory on Linux only")
def test_a_line_larger_than_memory(tmp_path: Path, tokenizer: Tokenizer) -> None:
    """A line that was tokenized at once took a hundred times its own size."""
    spare = 24 * 2**20
    line = "The cat sat on the mat and the ship left the port at dawn while nobody came to the door. "
    (tmp_path / "line.txt").write_text(line * (2 * 2**20 // len(line)))
    tokenizer.save(tmp_path)
    command = [sys.executable, "-c", CAPPED, tmp_path / "line.txt", tmp_path, tmp_path / "cache", spare]
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        env={**os.environ, "RAYON_NUM_THREADS": "2", "MALLOC_ARENA_MAX": "2"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["1", str(2 * 2**20 // len(line))]
