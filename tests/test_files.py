"""Files and folders are written whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from pathlib import Path

import pytest

from bertedge import scratch as scratch_module
from bertedge.encoders import read_config_file
from bertedge.errors import CheckpointError, FileError
from bertedge.files import new_folder, read_text, require_writable, sha256, write_text
from bertedge.records import read_json
from bertedge.report.budget_file import read_budgets

MARKER = "manifest.json"


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


@pytest.mark.parametrize("existing", ["folder", "file"])
def test_force_spares_what_bertedge_did_not_write(tmp_path: Path, existing: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "photo").write_text("x")
    (tmp_path / "file").write_text("x")
    with pytest.raises(FileError, match=f"no {MARKER}"), new_folder(tmp_path / existing, force=True, marker=MARKER):
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


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="this system has no /dev/zero")
def test_a_file_without_an_end_is_not_read_to_it(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"/dev/zero: cannot be read \(more than 256 MB\)"):
        read_json(Path("/dev/zero"))
    with pytest.raises(FileError, match="more than 256 MB"):
        read_budgets(Path("/dev/zero"))
    (tmp_path / "config.json").symlink_to("/dev/zero")
    with pytest.raises(CheckpointError, match="more than 256 MB"):
        read_config_file(tmp_path / "config.json")


def test_line_ends_are_as_python_reads_them(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes("é\r\nb\rc\n".encode())
    assert read_text(tmp_path / "text") == (tmp_path / "text").read_text(encoding="utf-8")
