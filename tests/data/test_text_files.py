"""Text is read in every encoding and compression; for other files, the error names the kind."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import pytest

from bertedge.data import text_files as files_module
from bertedge.data.corpus import read_sentences, tokenize_corpus
from bertedge.data.text_files import local_file, text_sha256
from bertedge.errors import CorpusError
from bertedge.files import sha256
from bertedge.tokenizer import Tokenizer
from tests.data.refusals import refused

TEXT = "The cat sat.\nIt slept.\n\nThe ship left.\n"
SENTENCES = [(0, "The cat sat."), (0, "It slept."), (1, "The ship left.")]


@pytest.mark.parametrize("name", ["corpus.txt", "corpus.gz", "corpus"])
@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_compressed_text_is_read_under_any_name(tmp_path: Path, compress: Callable[[bytes], bytes], name: str) -> None:
    (tmp_path / name).write_bytes(compress(TEXT.encode()))
    assert list(read_sentences(tmp_path / name)) == SENTENCES


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_a_damaged_archive(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    whole = compress(os.urandom(30_000).hex().encode())
    (tmp_path / "cut").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "changed").write_bytes(whole[:2000] + b"damaged" + whole[2007:])
    for name in ("cut", "changed"):
        assert "damaged or cut off" in refused(tmp_path / name).message


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/urandom", "/dev/null", "/dev/full"])
def test_devices_are_refused(device: str) -> None:
    assert "is a device" in refused(Path(device)).message


def test_a_folder_and_a_missing_file(tmp_path: Path) -> None:
    assert "it is a folder" in refused(tmp_path).message
    assert "No such file" in refused(tmp_path / "missing").message
    with pytest.raises(CorpusError, match="cannot be read"):
        local_file(Path("a\0b"))


@pytest.mark.parametrize("wrap", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"some text\n" * 200_000 + b"\x00" * 10, "NUL"),
        (b"\x00" * 5000, "NUL"),
        (b"PAR1\x15\x04", "Parquet"),
        (b"ARROW1\x00\x00", "Arrow"),
        (b"PK\x03\x04\x14\x00", "ZIP"),
        (b"%PDF-1.7\n", "PDF"),
        (b"\x28\xb5\x2f\xfd\x04", "Zstandard"),
        (b"corpus.txt" + b"\0" * 247 + b"ustar\x0000" + b"text\n", "tar"),
    ],
)
def test_what_is_no_text_is_named(tmp_path: Path, content: bytes, told: str, wrap: Callable[[bytes], bytes]) -> None:
    (tmp_path / "corpus.txt").write_bytes(wrap(content))
    error = refused(tmp_path / "corpus.txt")
    assert "is not text" in error.message
    assert told in error.message


@pytest.mark.parametrize("name", ["corpus.txt", "corpus.txt.gz", "corpus.jsonl", "corpus.csv"])
def test_a_git_lfs_pointer_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 7\n")
    error = refused(tmp_path / name)
    assert "is a Git LFS pointer, not the file itself" in error.message
    assert "git lfs pull" in error.hint


@pytest.mark.parametrize(
    ("encoding", "told"),
    [
        ("utf-16", "iconv -f UTF-16 "),
        ("utf-16-le", "iconv -f UTF-16LE "),
        ("utf-16-be", "iconv -f UTF-16BE "),
        ("utf-32", "iconv -f UTF-32 "),
        ("latin-1", "Latin-1 or Windows-1252? convert it: iconv -f WINDOWS-1252 "),
        ("cp1252", "Latin-1 or Windows-1252? convert it: iconv -f WINDOWS-1252 "),
    ],
)
def test_other_encodings_have_a_fitting_hint(tmp_path: Path, encoding: str, told: str) -> None:
    text = "Le café était fermé, à cause de la grève.\n" * 3
    (tmp_path / "corpus.txt").write_bytes((text + ("“Déjà”\n" if encoding == "cp1252" else "")).encode(encoding))
    error = refused(tmp_path / "corpus.txt")
    assert "not UTF-8" in error.message
    assert told in error.hint


@pytest.mark.parametrize("encoding", ["koi8-r", "shift-jis", "gb18030"])
def test_an_encoding_that_cannot_be_told(tmp_path: Path, encoding: str) -> None:
    text = "Кошка сидела на коврике.\n" if encoding == "koi8-r" else "猫はマットの上に座った。\n"
    (tmp_path / "corpus.txt").write_bytes(text.encode(encoding) * 5)
    assert "iconv -f ENCODING" in refused(tmp_path / "corpus.txt").hint


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[Callable[[bytes], Path]]:
    """A named pipe that something is written into, once."""
    threads = []

    def filled(content: bytes) -> Path:
        path = tmp_path / "pipe"
        os.mkfifo(path)

        def fill() -> None:
            with contextlib.suppress(BrokenPipeError):  # the reader has had enough
                path.write_bytes(content)

        threads.append(Thread(target=fill, daemon=True))
        threads[-1].start()
        return path

    yield filled
    files_module._copies.clear()  # the next test's pipe may get this one's number
    for thread in threads:
        thread.join(timeout=10)


def test_a_pipe_can_be_read_more_than_once(tmp_path: Path, tokenizer: Tokenizer, pipe: Callable[[bytes], Path]) -> None:
    path = pipe(gzip.compress(TEXT.encode(), mtime=0))
    assert tokenize_corpus(path, tokenizer).num_sentences == 3
    assert list(read_sentences(path)) == SENTENCES
    (tmp_path / "same").write_bytes(gzip.compress(TEXT.encode(), mtime=0))
    assert text_sha256(path) == sha256(tmp_path / "same")


def test_a_pipe_without_end(pipe: Callable[[bytes], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files_module, "PIPE_LIMIT", 2**20)
    path = pipe(b"yes\n" * 2**20)
    assert "more than 1 MB" in refused(path).message


PIPED = """
import sys
from pathlib import Path
from bertedge.data.corpus import read_sentences
from bertedge.data.text_files import local_file
path = Path(sys.argv[1])
for _ in range(2):
    print(len(list(read_sentences(path))))
print(local_file(path))
"""


@pytest.mark.skipif(not Path("/dev/fd").is_dir(), reason="this system has no /dev/fd")
@pytest.mark.parametrize("path", ["/dev/stdin", "/dev/fd/0", "-"])
@pytest.mark.parametrize("redirected", [False, True], ids=["pipe", "file"])
def test_standard_input(corpus_file: Path, path: str, redirected: bool) -> None:
    with open(corpus_file, "rb") as file:
        given = {"stdin": file} if redirected else {"input": corpus_file.read_bytes()}
        done = subprocess.run([sys.executable, "-c", PIPED, path], capture_output=True, **given)
    *counts, copy = done.stdout.decode().split()
    assert counts == ["13", "13"], done.stderr
    assert not Path(copy).exists()  # it is cleared away


def test_a_file_is_not_copied(corpus_file: Path) -> None:
    assert local_file(corpus_file) == corpus_file
