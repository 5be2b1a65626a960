"""Files in, files out: every format, every command, and jobs that go on after an interruption."""

from __future__ import annotations

import bz2
import csv
import gzip
import json
import lzma
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bertedge.bundle import Bundle
from bertedge.errors import BertEdgeError, CheckpointError, CorpusError, FileError, UsageError
from bertedge.heads import HEADS
from bertedge.jobs import job_output, row_tables, run
from bertedge.jobs.json_text import json_bytes
from bertedge.runtime import BertRuntime, load

VERBS = {head.verb.name: head.verb for head in HEADS.values()}
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
    for block in (1, 2, 4, 6, 7):
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


def rounded(value: Any) -> Any:
    """Numbers as float32 has them, also in lists and mappings."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return float(np.float32(value)) if isinstance(value, float) else value


@pytest.mark.parametrize("verb", VERBS)
def test_every_command_answers_as_in_python(verb: str, bundles: Callable[[str], Path], tmp_path: Path) -> None:
    """Also after two rows that have no answer; a column is found by its usual name."""
    rows = VERBS[verb].rows
    model = load(bundles(verb), threads=1)
    items = [("A cat [MASK].", "It was warm."), ("A [MASK] at sea.", "The sea was calm."), ("[MASK].", "Bake it.")]
    lines = [json.dumps({"id": str(i), "text": one, "pair": two}) for i, (one, two) in enumerate(items)]
    lines[1:1] = ["{", json.dumps({"id": "none", "text": None, "pair": None})]
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    run(model, verb, tmp_path / "in.jsonl", tmp_path / "out.jsonl", prefix="its_")
    expected = rows.answers(model, [one for one, _ in items] if rows.second == "never" else items)
    for got, answer in zip(objects(tmp_path / "out.jsonl"), expected, strict=True):
        plain = json.loads(json_bytes(dict(rows.values(answer))))
        assert {name: got[f"its_{name}"] for name in rows.names} == plain
    assert [row["id"] for row in objects(tmp_path / "out.jsonl")] == ["0", "1", "2"]
    assert [row["line"] for row in objects(tmp_path / "out.jsonl.errors.jsonl")] == [2, 3]
    table = pytest.importorskip("pyarrow.parquet")
    run(model, verb, tmp_path / "in.jsonl", tmp_path / "out.parquet", prefix="its_")
    both = zip(table.read_table(tmp_path / "out.parquet").to_pylist(), objects(tmp_path / "out.jsonl"), strict=True)
    for one, other in both:
        assert rounded(one) == rounded(other)


@pytest.mark.parametrize(
    ("verb", "options", "column"),
    [("rerank", {"query": "red planet"}, "document"), ("answer", {"question": "Where?"}, "context")],
)
def test_a_text_may_be_given_for_all_rows(
    verb: str, options: dict[str, str], column: str, bundles: Callable[[str], Path], tmp_path: Path
) -> None:
    model, texts = load(bundles(verb), threads=1), ["The cat sat.", "A ship left the port."]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({column: text, "id": 1}) + "\n" for text in texts))
    run(model, verb, tmp_path / "in.jsonl", tmp_path / "out.jsonl", options=options)
    (given,) = options.values()
    expected = VERBS[verb].rows.answers(model, [(given, text) for text in texts])
    first = VERBS[verb].rows.names[0]
    got = [row[first] for row in objects(tmp_path / "out.jsonl")]
    assert got == [VERBS[verb].rows.values(answer)[first] for answer in expected]


def test_rows_without_an_answer(runtime: BertRuntime, tmp_path: Path) -> None:
    """They are told with their line; the vectors of the others stay at their places."""
    lines = [
        b"[MASK] one",
        b"none",
        b"\xff[MASK]",
        b"nul \0 [MASK]",
        b"two [MASK]\r",
        b"",
        b"[MASK]" * 90,
        b"[MASK] end",
    ]
    (tmp_path / "in.txt").write_bytes(b"\xef\xbb\xbf" + b"\n".join(lines))
    result = run(runtime, "fill-mask", tmp_path / "in.txt", tmp_path / "out.jsonl")
    assert (result.rows, result.bad_rows, result.errors) == (8, 5, tmp_path / "out.jsonl.errors.jsonl")
    assert [row["text"] for row in objects(tmp_path / "out.jsonl")] == ["[MASK] one", "two [MASK]", "[MASK] end"]
    told = {row["line"]: row["reason"] for row in objects(tmp_path / "out.jsonl.errors.jsonl")}
    assert told[3] == "is not UTF-8"
    assert told[4] == "holds NUL bytes"
    assert sorted(told) == [2, 3, 4, 6, 7]
    assert run(runtime, "embed", tmp_path / "in.txt", tmp_path / "out.npy").cut == 1
    bad = np.isnan(np.load(tmp_path / "out.npy")).all(axis=1)
    assert [*np.flatnonzero(bad)] == [2, 3]
    assert not np.isnan(np.load(tmp_path / "out.npy")[~bad]).any()


@pytest.mark.parametrize(("line", "kind"), [("no mask", UsageError), ("bad \0", CorpusError)])
def test_a_strict_job_stops(line: str, kind: type[BertEdgeError], runtime: BertRuntime, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("[MASK]\n" * 6 + line + "\n[MASK]\n")
    with pytest.raises(kind, match="line 7: "):
        run(runtime, "fill-mask", tmp_path / "in.txt", tmp_path / "out.jsonl", strict=True)
    assert not (tmp_path / "out.jsonl").exists()
    result = run(runtime, "fill-mask", tmp_path / "in.txt", tmp_path / "out.jsonl", resume=True)
    assert (result.rows, result.bad_rows) == (8, 1)


def interrupt(runtime: BertRuntime, source: Path, target: Path, **options: Any) -> None:
    """Run a job until it is interrupted after its first block."""

    def stop(share: float, text: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(runtime, "embed", source, target, listener=stop, **options)


def test_what_an_interrupted_job_needs(runtime: BertRuntime, tmp_path: Path) -> None:
    source, target = write(tmp_path / "in.jsonl", TEXTS), tmp_path / "out.jsonl"
    interrupt(runtime, source, target)
    assert names(tmp_path) >= {"out.jsonl.partial", "out.jsonl.job.json"}
    with pytest.raises(FileError, match="an unfinished run") as refused:
        run(runtime, "embed", source, target)
    assert "--resume" in refused.value.hint
    for changed, what in (({"prefix": "x"}, "--prefix"), ({"options": {"dimensions": 2}}, "an option")):
        with pytest.raises(FileError, match=what):
            run(runtime, "embed", source, target, resume=True, **changed)
    with pytest.raises(FileError, match="the command"):
        run(runtime, "fill-mask", source, target, resume=True)
    done = run(runtime, "embed", source, target, resume=True)
    assert (done.rows, done.was_done) == (len(TEXTS), False)
    content = target.read_bytes()
    assert run(runtime, "embed", source, target, resume=True).was_done
    with pytest.raises(FileError, match="already there"):
        run(runtime, "embed", source, target)
    with source.open("a") as file:
        file.write('{"text": "more"}\n')
    with pytest.raises(FileError, match="the input changed"):
        run(runtime, "embed", source, target, resume=True)
    assert target.read_bytes() == content
    interrupt(runtime, source, target, force=True)
    assert target.read_bytes() == content, "the output stays until the new one is complete"
    assert run(runtime, "embed", source, target, resume=True).rows == len(TEXTS) + 1
    assert names(tmp_path) == {"in.jsonl", "out.jsonl", "out.jsonl.job.json"}


def test_a_kill_between_the_last_renames(runtime: BertRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = write(tmp_path / "in.txt", ["one", "two [MASK]", "three [MASK]"]), tmp_path / "out.npy"

    def killed(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(job_output, "end", killed)
        with pytest.raises(Killed):
            run(runtime, "fill-mask", source, target.with_suffix(".jsonl"))
    assert names(tmp_path) >= {"out.jsonl", "out.jsonl.errors.jsonl.partial"}
    result = run(runtime, "fill-mask", source, target.with_suffix(".jsonl"), resume=True)
    assert (result.was_done, result.rows, result.bad_rows) == (True, 3, 1)
    assert names(tmp_path) == {"in.txt", "out.jsonl", "out.jsonl.errors.jsonl", "out.jsonl.job.json"}
    with monkeypatch.context() as patch:
        patch.setattr("bertedge.jobs.output_formats.os.replace", killed)
        with pytest.raises(Killed):
            run(runtime, "embed", source, target)
    assert run(runtime, "embed", source, target, resume=True).rows == 3
    np.testing.assert_array_equal(np.load(target), runtime.encode(["one", "two [MASK]", "three [MASK]"]))


def test_an_output_that_was_taken_away_is_made_again(runtime: BertRuntime, tmp_path: Path) -> None:
    source, target = write(tmp_path / "in.jsonl", TEXTS), tmp_path / "out.jsonl"
    run(runtime, "embed", source, target)
    content = target.read_bytes()
    target.unlink()
    (tmp_path / "out.jsonl.partial").touch()  # what a run leaves that is killed before it reads a row
    assert not run(runtime, "embed", source, target, resume=True).was_done
    assert target.read_bytes() == content


def test_two_processes_do_not_write_one_output(runtime: BertRuntime, tmp_path: Path) -> None:
    source, target = write(tmp_path / "in.jsonl", TEXTS), tmp_path / "out.jsonl"
    refused = []

    def second(share: float, text: str) -> None:
        for options in ({}, {"force": True}, {"resume": True}):
            with pytest.raises(FileError, match="another process") as error:
                run(runtime, "embed", source, target, **options)
            refused.append(error)

    run(runtime, "embed", source, target, listener=second)
    assert len(refused) >= 3
    assert len(objects(target)) == len(TEXTS)


def test_a_file_that_changes_while_it_is_read(runtime: BertRuntime, tmp_path: Path) -> None:
    source, target = write(tmp_path / "in.txt", ["a text"] * 40), tmp_path / "out.jsonl"

    def change(share: float, text: str) -> None:
        with source.open("a") as file:
            file.write("more\n")

    with pytest.raises(CorpusError, match="was changed while it was read"):
        run(runtime, "embed", source, target, listener=change)
    assert (tmp_path / "out.jsonl.partial").stat().st_size > 0
    assert not target.exists()


@pytest.mark.parametrize("name", ["in.csv", "in.parquet", "in.jsonl", "in.txt"])
@pytest.mark.parametrize("target", ["out.jsonl", "out.csv", "out.npy", "out.parquet"])
def test_an_input_without_rows(name: str, target: str, runtime: BertRuntime, tmp_path: Path) -> None:
    assert run(runtime, "embed", write(tmp_path / name, []), tmp_path / target).rows == 0
    carried = ["number", "text"] if name in ("in.csv", "in.parquet") else []
    if target == "out.npy":
        assert np.load(tmp_path / target).shape == (0, runtime.dimension)
    elif target == "out.csv":
        assert (tmp_path / target).read_text() == ",".join([*carried, "embedding"]) + "\n"
    elif target == "out.parquet":
        assert pytest.importorskip("pyarrow.parquet").read_schema(tmp_path / target).names == [*carried, "embedding"]


CSV = "text,label\na,1\n"
REFUSED: dict[str, tuple[str, str, dict[str, Any], type[BertEdgeError], str]] = {
    "a column that is missing": ("in.csv", CSV, {"columns": ["body"]}, UsageError, "no such column"),
    "no usual name": ("in.csv", "x,y\n1,2\n", {}, CorpusError, "no column 'text'"),
    "a name clash": ("in.csv", "text,embedding\na,1\n", {}, UsageError, "a column 'embedding' already"),
    "two columns of one name": ("in.csv", "text,text\na,b\n", {}, CorpusError, "2 columns 'text'"),
    "two texts": ("in.csv", CSV, {"columns": ["text", "label"]}, UsageError, "one text of a row"),
    "a role": ("in.csv", CSV, {"columns": ["label=label"]}, UsageError, "reads no label"),
    "an option": ("in.csv", CSV, {"options": {"size": 3}}, UsageError, "no option 'size'"),
    "a value": ("in.csv", CSV, {"options": {"pooling": "sum"}}, UsageError, "sum"),
    "a verb": ("in.csv", CSV, {"verb": "embeds"}, UsageError, "not a command"),
    "another head": ("in.csv", CSV, {"verb": "classify"}, CheckpointError, "head"),
    "one text of two": ("in.txt", "a\n", {"verb": "next-sentence"}, UsageError, "reads two texts"),
    "a format": ("in.csv", CSV, {"output": "out.xlsx"}, UsageError, "not a format"),
    "other answers than vectors": ("in.csv", CSV, {"verb": "fill-mask", "output": "out.npy"}, UsageError, "one vector"),
    "words and tags": ("in.conll", "a O\n", {}, UsageError, "words and tags"),
    "no text file": ("in.txt", "%PDF-1.4 x", {}, CorpusError, "PDF"),
    "no Parquet": ("in.parquet", "text", {}, CorpusError, "not Parquet"),
    "rows of another kind": ("in.jsonl", "[1]\n[2]\n", {}, CorpusError, "none of the first 2 rows"),
    "resuming a stream": ("in.csv", CSV, {"output": "-", "resume": True}, UsageError, "output file"),
    "its own input": ("in.csv", CSV, {"output": "in.csv", "force": True}, UsageError, "both input and output"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_before_anything_is_written(case: str, runtime: BertRuntime, tmp_path: Path) -> None:
    name, content, options, kind, message = REFUSED[case]
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow")
    (tmp_path / name).write_text(content)
    call = {"verb": "embed", "output": "out.jsonl", **options}
    output = call.pop("output")
    with pytest.raises(kind, match=message):
        run(runtime, input=tmp_path / name, output=output if output == "-" else tmp_path / output, **call)
    assert names(tmp_path) == {name}


def test_a_missing_input(runtime: BertRuntime, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="cannot be read"):
        run(runtime, "embed", tmp_path / "none.txt", tmp_path / "out.jsonl")
    with pytest.raises(CorpusError, match="folder"):
        run(runtime, "embed", tmp_path, tmp_path / "out.jsonl")


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_compressed_input(compress: Callable[[bytes], bytes], runtime: BertRuntime, tmp_path: Path) -> None:
    ending = {gzip.compress: ".gz", bz2.compress: ".bz2", lzma.compress: ".xz"}[compress]
    (tmp_path / f"in.csv{ending}").write_bytes(compress(write(tmp_path / "in.csv", TEXTS).read_bytes()))
    run(runtime, "embed", tmp_path / "in.csv", tmp_path / "plain.jsonl")
    run(runtime, "embed", tmp_path / f"in.csv{ending}", tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_bytes() == (tmp_path / "plain.jsonl").read_bytes()


def test_a_compressed_file_that_was_cut_off(runtime: BertRuntime, tmp_path: Path) -> None:
    texts = [os.urandom(40).hex() for _ in range(400)]
    (tmp_path / "in.txt.gz").write_bytes(gzip.compress("\n".join(texts).encode())[:-4000])
    with pytest.raises(CorpusError, match="damaged or cut off"):
        run(runtime, "embed", tmp_path / "in.txt.gz", tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()


def test_columns_of_json_that_change(runtime: BertRuntime, tmp_path: Path) -> None:
    """CSV and Parquet have the columns and types of the first rows; JSON Lines takes any."""
    rows = [{"text": "a", "n": 1, "m": None}] * 4 + [{"text": "b", "n": "x", "m": 2}, {"text": "c", "other": 1}]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    bad = {}
    for target in ("out.jsonl", "out.csv", "out.parquet"):
        result = run(runtime, "embed", tmp_path / "in.jsonl", tmp_path / target)
        bad[target] = [row.line for row in result.first_bad]
    assert bad == {"out.jsonl": [], "out.csv": [6], "out.parquet": [5, 6]}


def test_the_default_output_is_a_stream(
    runtime: BertRuntime, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run(runtime, "embed", write(tmp_path / "in.txt", TEXTS))
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["text"] for line in lines] == TEXTS
    assert (result.output, names(tmp_path)) == (None, {"in.txt"})


def test_text_files_need_no_extra(runtime: BertRuntime, tmp_path: Path) -> None:
    """Without pyarrow and orjson, the answers have the same values; Parquet says what it needs."""
    source = write(tmp_path / "in.csv", TEXTS)
    run(runtime, "embed", source, tmp_path / "fast.jsonl")
    program = f"""
import sys
sys.modules["orjson"] = sys.modules["pyarrow"] = None
from bertedge.errors import MissingExtraError
from bertedge.jobs import run
print(run({str(runtime.bundle.folder)!r}, "embed", {str(source)!r}, "plain.jsonl", threads=1).rows)
try:
    run({str(runtime.bundle.folder)!r}, "embed", {str(source)!r}, "out.parquet")
except MissingExtraError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    rows, error, hint = done.stdout.splitlines()
    assert (int(rows), "pyarrow" in error, "[data]" in hint) == (len(TEXTS), True, True)
    assert objects(tmp_path / "plain.jsonl") == objects(tmp_path / "fast.jsonl")
