"""Records to JSON and back; folders and files that are written whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bertedge import scratch as scratch_module
from bertedge.bounds import Count, Ratio, Share
from bertedge.config import BertConfig
from bertedge.errors import CheckpointError, FileError
from bertedge.recipe import QuantizationRecipe
from bertedge.records import (
    finite,
    from_json,
    new_folder,
    read_json,
    read_text,
    require_writable,
    sha256,
    to_json,
    write_json,
    write_text,
)
from bertedge.report.budget import read_budgets

FUZZ = settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
MARKER = "manifest.json"


@dataclass(frozen=True)
class Inner:
    share: float
    shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class Outer:
    name: str
    kind: Literal["mlm", "nsp"]
    inner: Inner
    count: int = 0
    exact: bool = False
    seed: int | None = None
    rows: tuple[tuple[Inner, ...], ...] = ()
    parts: Mapping[str, Inner] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    rest: Any = None


EXAMPLE = Outer(
    name="ä",
    kind="nsp",
    inner=Inner(share=0.5, shape=(2, 3)),
    seed=7,
    rows=((Inner(share=1.0),), ()),
    parts={"a": Inner(share=2.0, shape=(1,))},
    notes=["x"],
    rest={"deep": [1, None]},
)

numbers = st.floats(allow_nan=False, allow_infinity=False)
inners = st.builds(Inner, share=numbers, shape=st.lists(st.integers()).map(tuple))
outers = st.builds(
    Outer,
    name=st.text(),
    kind=st.sampled_from(["mlm", "nsp"]),
    inner=inners,
    count=st.integers(),
    exact=st.booleans(),
    seed=st.none() | st.integers(),
    rows=st.lists(st.lists(inners, max_size=3).map(tuple), max_size=3).map(tuple),
    parts=st.dictionaries(st.text(), inners, max_size=3),
    notes=st.lists(st.text(), max_size=3),
)
any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | st.text(max_size=8),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(st.text(max_size=8), inside, max_size=4),
    max_leaves=12,
)


def raw(**changes: object) -> dict[str, Any]:
    """``EXAMPLE`` as parsed JSON, with changes."""
    return {**to_json(EXAMPLE), **changes}


def names(folder: Path) -> list[str]:
    """What lies in a folder, hidden files included."""
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A folder as bertedge writes it."""
    folder = tmp_path / "out"
    with new_folder(folder) as scratch:
        (scratch / MARKER).write_text("old")
    return folder


def test_a_record_comes_back_from_its_file(tmp_path: Path) -> None:
    write_json(tmp_path / "record.json", EXAMPLE)
    assert from_json(Outer, read_json(tmp_path / "record.json")) == EXAMPLE


@FUZZ
@given(outers)
def test_any_record_comes_back_from_its_file(tmp_path: Path, record: Outer) -> None:
    write_json(tmp_path / "record.json", record)
    assert from_json(Outer, read_json(tmp_path / "record.json")) == record


def test_a_name_that_is_not_utf8_comes_back(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9")  # Python gives the stray byte half a surrogate pair
    write_json(tmp_path / "a.json", {"name": name, "path": "\\udc80"})
    assert read_json(tmp_path / "a.json") == {"name": name, "path": "\\udc80"}


def test_json_holds_plain_values() -> None:
    assert to_json({1: EXAMPLE.inner, "b": (1, [2.5, None])}) == {
        "1": {"share": 0.5, "shape": [2, 3]},
        "b": [1, [2.5, None]],
    }
    assert to_json(EXAMPLE)["rows"] == [[asdict(Inner(share=1.0)) | {"shape": []}], []]


def test_files_are_readable_by_people(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"name": "Zürich", "list": [1]})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n  "name": "Zürich",\n  "list": [\n    1\n  ]\n}\n'


def test_defaults_fill_what_is_not_said() -> None:
    record = from_json(Outer, {"name": "a", "kind": "mlm", "inner": {"share": 1}})
    assert record == Outer(name="a", kind="mlm", inner=Inner(share=1.0))
    assert isinstance(record.inner.share, float)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (raw(extra=1), r"report: unknown key 'extra'"),
        (raw(inner={"share": 1, "b": 1, "a": 1}), r"report\.inner: unknown key 'a', 'b'"),
        ({"kind": "mlm"}, r"report: missing key 'inner', 'name'"),
        (raw(name=3), r"report\.name: 3 is not str"),
        (raw(count=True), r"report\.count: True is not int"),
        (raw(count=1.0), r"report\.count: 1\.0 is not int"),
        (raw(exact=1), r"report\.exact: 1 is not bool"),
        (raw(kind="MLM"), r"report\.kind: 'MLM' is not 'mlm' or 'nsp'"),
        (raw(kind=[]), r"report\.kind"),
        (raw(seed="7"), r"report\.seed: '7' is not int"),
        (raw(inner=None), r"report\.inner: None is not an object"),
        (raw(inner={"share": True}), r"report\.inner\.share: True is not float"),
        (raw(inner={"share": 10**400}), r"report\.inner\.share: 1000"),
        (raw(rows=[[], [{"share": "x"}]]), r"report\.rows\[1\]\[0\]\.share: 'x' is not float"),
        (raw(rows="ab"), r"report\.rows: 'ab' is not a list"),
        (raw(parts=[]), r"report\.parts: \[\] is not an object"),
        (raw(parts={"p": 1}), r"report\.parts\.p: 1 is not an object"),
        ([], r"report: \[\] is not an object"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(value: object, words: str) -> None:
    with pytest.raises(FileError, match=words) as caught:
        from_json(Outer, value, "report")
    assert len(caught.value.message) < 140
    assert caught.value.hint


def test_a_value_nested_without_end_is_refused() -> None:
    nested: list = []
    for _ in range(20_000):
        nested = [nested]
    with pytest.raises(FileError, match=r"\$\.name"):
        from_json(Outer, raw(name=nested))


@settings(max_examples=150)
@given(any_json | st.dictionaries(st.sampled_from([*to_json(EXAMPLE), "other"]), any_json))
def test_any_json_is_a_record_or_a_file_error(value: object) -> None:
    try:
        record = from_json(Outer, value)
    except FileError as error:
        assert str(error).count("\n") == 1
    else:
        assert isinstance(record, Outer)


@settings(max_examples=100)
@given(st.sampled_from([name for name in to_json(EXAMPLE) if name != "rest"]), any_json)
def test_one_spoilt_field_is_a_file_error_or_of_its_type(name: str, value: object) -> None:
    try:
        record = from_json(Outer, raw(**{name: value}))
    except FileError as error:
        assert error.message.startswith(f"$.{name}")
    else:
        assert type(getattr(record, name)) in {str, Inner, int, bool, type(None), tuple, dict, list}


@FUZZ
@given(st.binary() | any_json.map(json.dumps).map(str.encode))
def test_any_bytes_are_json_or_a_file_error(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(data)
    try:
        value = read_json(path)
    except FileError as error:
        assert str(path) in error.message
    else:
        assert json.dumps(value) == json.dumps(json.loads(data.decode("utf-8")))


@pytest.mark.parametrize("data", [b"", b"{", b'{"a": 1', b"\xff\xfe", b"[" * 200_000, b"1" * 5000, b"\xef\xbb\xbf{}"])
def test_broken_json_names_the_file(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.json").write_bytes(data)
    with pytest.raises(FileError, match="a.json: is not JSON"):
        read_json(tmp_path / "a.json")


@pytest.mark.parametrize(("name", "words"), [("none.json", "No such file"), (".", "Is a directory")])
def test_json_that_cannot_be_read(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(FileError, match=words):
        read_json(tmp_path / name)


def test_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc" * 99_999)
    assert sha256(tmp_path / "a") == hashlib.sha256(b"abc" * 99_999).hexdigest()
    with pytest.raises(FileError, match="No such file"):
        sha256(tmp_path / "b")


def test_write_text_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    for text in ("first", "zweites, länger"):
        write_text(path, text)
        assert path.read_text(encoding="utf-8") == text
    assert names(path.parent) == ["a.txt"]


def test_write_text_fails_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_text(tmp_path / "a.txt", "old")

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(FileError, match="No space left"):
        write_text(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_write_text_does_not_replace_a_folder(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(FileError, match="Is a directory"):
        write_text(tmp_path / "folder", "text")
    assert names(tmp_path) == ["folder"]


def test_files_and_folders_have_the_usual_permissions(written: Path) -> None:
    write_text(written / "a.txt", "x")
    (written / "plain").mkdir()
    (written / "plain.txt").write_text("x")
    assert stat.S_IMODE((written / "a.txt").stat().st_mode) == stat.S_IMODE((written / "plain.txt").stat().st_mode)
    assert stat.S_IMODE(written.stat().st_mode) == stat.S_IMODE((written / "plain").stat().st_mode)


def test_a_new_folder_appears_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "parent" / "out"
    with new_folder(target) as scratch:
        (scratch / "a").write_text("x")
        assert not target.exists()
        assert scratch.parent == target.parent  # so that the move is a rename
    assert names(target) == ["a"]
    assert names(target.parent) == ["out"]


def test_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with new_folder(Path("out/")) as scratch:
        (scratch / "a").write_text("x")
    assert names(tmp_path / "out") == ["a"]


def test_an_empty_folder_may_be_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with new_folder(tmp_path / "out") as scratch:
        (scratch / "a").write_text("x")
    assert names(tmp_path / "out") == ["a"]
    assert names(tmp_path) == ["out"]


def test_what_is_there_stays_without_force(written: Path) -> None:
    with pytest.raises(FileError, match="is already there") as caught, new_folder(written):
        pytest.fail("the block must not run")
    assert "--force" in caught.value.hint
    assert (written / MARKER).read_text() == "old"


def test_force_replaces_everything(written: Path) -> None:
    (written / "leftover").write_text("x")
    with new_folder(written, force=True, marker=MARKER) as scratch:
        assert (written / MARKER).read_text() == "old"
        (scratch / MARKER).write_text("new")
    assert (written / MARKER).read_text() == "new"
    assert names(written) == [MARKER]
    assert names(written.parent) == ["out"]


@pytest.mark.parametrize("stranger", ["folder", "file"])
def test_force_spares_what_bertedge_did_not_write(tmp_path: Path, stranger: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "photo").write_text("x")
    (tmp_path / "file").write_text("x")
    with pytest.raises(FileError, match=f"no {MARKER}"), new_folder(tmp_path / stranger, force=True, marker=MARKER):
        pytest.fail("the block must not run")
    assert (tmp_path / "folder" / "photo").read_text() == (tmp_path / "file").read_text() == "x"


@pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt()], ids=["error", "interrupt"])
def test_an_exception_inside_leaves_the_old_content(written: Path, error: BaseException) -> None:
    with pytest.raises(type(error)), new_folder(written, force=True, marker=MARKER) as scratch:
        (scratch / MARKER).write_text("half")
        raise error
    assert (written / MARKER).read_text() == "old"
    assert names(written.parent) == ["out"]


def test_an_exception_inside_leaves_nothing_new(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="bad"), new_folder(tmp_path / "out") as scratch:
        (scratch / "a").write_text("half")
        raise ValueError("bad")
    assert names(tmp_path) == []


def test_an_os_error_inside_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="nowhere/a: No such file"), new_folder(tmp_path / "out") as scratch:
        (scratch / "nowhere" / "a").write_text("x")
    assert names(tmp_path) == []


def test_an_error_of_our_own_passes_through(tmp_path: Path) -> None:
    mine = FileError("mine", "hint")
    with pytest.raises(FileError) as caught, new_folder(tmp_path / "out"):
        raise mine
    assert caught.value is mine


@pytest.mark.parametrize("failure", [OSError(5, "Input/output error"), KeyboardInterrupt()], ids=["disk", "interrupt"])
@pytest.mark.parametrize("failing_call", [1, 2, 3])
def test_a_swap_that_fails_puts_the_old_folder_back(
    written: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException, failing_call: int
) -> None:
    rename, calls = os.rename, iter(range(1, 10))

    def rename_or_fail(source: Path, target: Path) -> None:
        if next(calls) == failing_call:
            raise failure
        rename(source, target)

    monkeypatch.setattr("os.rename", rename_or_fail)
    monkeypatch.setattr(scratch_module, "_exchange", lambda one, other: False)  # as on systems that cannot
    expected = FileError if isinstance(failure, OSError) else KeyboardInterrupt
    with pytest.raises(expected), new_folder(written, force=True, marker=MARKER) as scratch:
        (scratch / MARKER).write_text("new")
    assert (written / MARKER).read_text() == "old"
    assert names(written.parent) == ["out"]


@pytest.mark.parametrize("parent", ["file", "file/deeper"])
def test_a_parent_that_is_a_file(tmp_path: Path, parent: str) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(FileError, match="Not a directory"), new_folder(tmp_path / parent / "out"):
        pytest.fail("the block must not run")
    with pytest.raises(FileError, match="Not a directory"):
        write_text(tmp_path / parent / "a.txt", "x")
    assert names(tmp_path) == ["file"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_parent_without_write_permission(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    with pytest.raises(FileError, match="Permission denied"), new_folder(closed / "out"):
        pytest.fail("the block must not run")
    with pytest.raises(FileError, match="Permission denied"):
        write_text(closed / "a.txt", "x")
    assert names(closed) == []


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="File name too long"), new_folder(tmp_path / ("x" * 300)):
        pytest.fail("the block must not run")
    assert names(tmp_path) == []


@pytest.mark.parametrize("name", ["new.txt", "old.txt", "far/away/new.txt", "link.txt"])
def test_a_place_that_can_be_written_is_left_as_it_was(tmp_path: Path, name: str) -> None:
    (tmp_path / "old.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to("old.txt")
    require_writable(tmp_path / name)
    assert names(tmp_path) == ["link.txt", "old.txt"]
    assert (tmp_path / "old.txt").read_text() == "old"
    write_text(tmp_path / name, "new")
    assert (tmp_path / name).read_text() == "new"


@pytest.mark.parametrize("name", ["file/new.txt", "file/deeper/new.txt", "folder", "x" * 300])
def test_a_place_that_cannot_be_written_is_found_out(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    for write in (require_writable, lambda path: write_text(path, "x")):
        with pytest.raises(FileError):
            write(tmp_path / name)
    assert names(tmp_path) == ["file", "folder"]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="this system has no /proc")
def test_a_folder_that_not_even_root_may_write_to() -> None:
    with pytest.raises(FileError, match="/proc/"):
        require_writable(Path("/proc/report.json"))


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "old.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to("old.txt")
    write_text(tmp_path / "link.txt", "new")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "old.txt").read_text() == "new"


def test_a_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    require_writable(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_text(pipe, "text")
    assert os.read(reader, 100) == b"text"
    os.close(reader)
    assert pipe.is_fifo()


def test_a_link_keeps_pointing_to_what_is_replaced(written: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(written)
    with new_folder(link, force=True, marker=MARKER) as scratch:
        (scratch / MARKER).write_text("new")
    assert link.is_symlink()
    assert (written / MARKER).read_text() == "new"
    assert names(tmp_path) == ["link", "out"]
    nowhere = tmp_path / "to nowhere"
    nowhere.symlink_to(tmp_path / "later")
    with new_folder(nowhere) as scratch:
        (scratch / MARKER).write_text("new")
    assert (tmp_path / "later" / MARKER).read_text() == "new"


@given(any_json)
def test_what_is_no_number_becomes_none(value: Any) -> None:
    strict = json.dumps(finite(value), allow_nan=False)
    assert json.loads(strict) == json.loads(json.dumps(value), parse_constant=lambda name: None)


@dataclass(frozen=True, kw_only=True)
class Bounded:
    share: Share = 0.5
    ratio: Ratio | None = None
    count: Count = 0
    shares: tuple[Share, ...] = ()
    by_name: dict[str, Share] = field(default_factory=dict)

    def flaw(self) -> str | None:
        return "more shares than counted" if len(self.shares) > self.count else None


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"share": 1.5}, r"\$.share: 1.5 is not a number from 0 to 1"),
        ({"share": None}, r"\$.share: None is not a number from 0 to 1"),
        ({"share": float("nan")}, r"\$.share: nan is not"),
        ({"ratio": -1.0}, r"\$.ratio: -1.0 is not a number from 0 to 1e\+09"),
        ({"count": -1}, r"\$.count: -1 is not"),
        ({"count": 10**300}, r"\$.count: 1000"),
        ({"count": 3, "shares": [0.0, 2.0]}, r"\$.shares\[1\]: 2.0"),
        ({"by_name": {"x" * 500: 7.0}}, r"\$.by_name.xxx[^:]{,80}: 7.0 is not"),
        ({"shares": [0.0]}, r"\$: more shares than counted"),
        ({"y" * 500: 1}, "unknown key 'yyyy.{,80}\n"),
    ],
)
def test_a_number_out_of_its_range(raw: dict, words: str) -> None:
    with pytest.raises(FileError, match=words):
        from_json(Bounded, raw)


def test_numbers_in_their_range() -> None:
    assert from_json(Bounded, {"share": 1, "ratio": None, "count": 2**63 - 1, "shares": [0.0, 1.0]}).shares == (0, 1)
    assert Bounded(share=7.0).share == 7.0  # only what comes from a file is checked


@dataclass(frozen=True, kw_only=True)
class Wrapped:
    recipe: QuantizationRecipe


def test_a_wrong_option_in_a_file_is_the_files_fault() -> None:
    with pytest.raises(FileError, match=r"\$.recipe: recipe: 9 of the calibration text held out"):
        from_json(Wrapped, {"recipe": {"held_out": 9.0}})


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="this system has no /dev/zero")
def test_a_file_without_an_end_is_not_read_to_it(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"/dev/zero: cannot be read \(more than 256 MB\)"):
        read_json(Path("/dev/zero"))
    with pytest.raises(FileError, match="more than 256 MB"):
        read_budgets(Path("/dev/zero"))
    (tmp_path / "config.json").symlink_to("/dev/zero")
    with pytest.raises(CheckpointError, match="more than 256 MB"):
        BertConfig.read(tmp_path / "config.json")


def test_line_ends_are_as_python_reads_them(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes("é\r\nb\rc\n".encode())
    assert read_text(tmp_path / "text") == (tmp_path / "text").read_text(encoding="utf-8")
