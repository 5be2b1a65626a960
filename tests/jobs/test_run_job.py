"""Files in, files out: every format, every command, and jobs that go on after an interruption."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bertedge.bundle import Bundle
from bertedge.jobs import job_output, row_tables, run
from bertedge.runtime import BertRuntime, load

#: Texts of several lengths, also an empty one.
TEXTS = [*("The cat sat on the mat. " * (1 + count % 5) for count in range(23)), "", 'Größe und ﬁn, "quoted"\ttab']


@pytest.fixture(scope="module")
def runtime(bundle_of: Callable[..., Bundle]) -> BertRuntime:
    return load(bundle_of("float32").folder, threads=1)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several blocks even in small files, and everything is safe on the disk after each."""
    monkeypatch.setattr(row_tables, "BLOCK_ROWS", 4)
    monkeypatch.setattr("bertedge.jobs.job_run.COMMIT_S", 0)


def write(path: Path, texts: list[str]) -> Path:
    """A file of numbered texts in the format of its suffix."""
    if path.suffix == ".txt":
        path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    elif path.suffix == ".csv":
        with open(path, "w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([["number", "text"], *enumerate(texts)])
    elif path.suffix == ".parquet":
        pa = pytest.importorskip("pyarrow")
        table = pa.table({"number": pa.array(range(len(texts)), pa.int16()), "text": texts})
        pytest.importorskip("pyarrow.parquet").write_table(table, path, row_group_size=5)
    else:
        rows = ({"number": number, "text": text} for number, text in enumerate(texts))
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def objects(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("source", ["in.txt", "in.csv", "in.jsonl", "in.parquet"])
@pytest.mark.parametrize("target", ["out.jsonl", "out.csv", "out.npy", "out.parquet"])
def test_every_format_to_every_format(source: str, target: str, runtime: BertRuntime, tmp_path: Path) -> None:
    written = tmp_path / target
    result = run(runtime, "embed", write(tmp_path / source, TEXTS), written)
    vectors = runtime.encode(TEXTS)
    carried = ["text"] if source == "in.txt" else ["number", "text"]
    assert (result.rows, result.bad_rows, result.output, result.errors) == (len(TEXTS), 0, written, None)
    assert names(tmp_path) == {source, target, f"{target}.job.json"}
    if target == "out.npy":
        assert np.load(written).dtype == np.float32
        np.testing.assert_array_equal(np.load(written), vectors)
        return
    rows = read_rows(written)
    assert [[*row] for row in rows] == [[*carried, "embedding"]] * len(TEXTS)
    assert [row["text"] for row in rows] == TEXTS
    np.testing.assert_array_equal(np.float32([row["embedding"] for row in rows]), vectors)
    if "number" in carried:
        assert [int(row["number"]) for row in rows] == [*range(len(TEXTS))]


def read_rows(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        return pytest.importorskip("pyarrow.parquet").read_table(path).to_pylist()
    if path.suffix == ".jsonl":
        return objects(path)
    with open(path, encoding="utf-8", newline="") as file:
        return [{**row, "embedding": json.loads(row["embedding"])} for row in csv.DictReader(file)]


def test_types_of_parquet_are_kept(runtime: BertRuntime, tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    run(runtime, "embed", write(tmp_path / "in.parquet", TEXTS), tmp_path / "out.parquet")
    before, after = (pq.read_schema(tmp_path / name) for name in ("in.parquet", "out.parquet"))
    assert [after.field(name) for name in before.names] == [*before]
    assert str(after.field("embedding").type.value_type) == "float"


class Killed(BaseException):
    """Stands for kill -9: nothing after it is written."""


@pytest.mark.parametrize(
    ("source", "target"),
    [("in.jsonl", "out.parquet"), ("in.csv.gz", "out.jsonl"), ("in.parquet", "out.npy"), ("in.txt", "out.csv")],
)
def test_a_job_that_was_killed_goes_on(
    source: str, target: str, runtime: BertRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every block: the output equals that of an unbroken run, byte for byte."""
    plain = write(tmp_path / source.removesuffix(".gz"), TEXTS)
    if source.endswith(".gz"):
        (tmp_path / source).write_bytes(gzip.compress(plain.read_bytes()))
    whole = tmp_path / f"whole-{target}"
    run(runtime, "embed", tmp_path / source, whole)
    append, commit = job_output.FileOutput.append, job_output.FileOutput.commit
    for block in range(1, 9):
        seen: list[bytes] = []

        def dying(self: Any, data: bytes, bad: Any, block: int = block, seen: list[bytes] = seen) -> None:
            seen.append(data)
            if len(seen) > block:
                self._file.write(data[: len(data) // 2])
                self._file.flush()
                monkeypatch.setattr(job_output.FileOutput, "commit", lambda *_: None)
                raise Killed
            append(self, data, bad)

        monkeypatch.setattr(job_output.FileOutput, "append", dying)
        try:
            run(runtime, "embed", tmp_path / source, tmp_path / target)
        except Killed:
            assert not (tmp_path / target).exists()
        monkeypatch.setattr(job_output.FileOutput, "append", append)
        monkeypatch.setattr(job_output.FileOutput, "commit", commit)
        result = run(runtime, "embed", tmp_path / source, tmp_path / target, resume=True)
        assert result.rows == len(TEXTS)
        assert (tmp_path / target).read_bytes() == whole.read_bytes(), block
        (tmp_path / target).unlink()
    assert len(seen) >= 7  # the last blocks were reached
