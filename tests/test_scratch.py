"""What is written is there whole, wherever its process is killed; what a killed process left goes, and nothing else.

The processes are real, and so is SIGKILL.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from bertedge import scratch as scratch_module
from bertedge.errors import FileError
from bertedge.files import alone_in, new_folder, write_text
from bertedge.scratch import is_scratch, scratch_name, settle, temporary_folder, temporary_place

MARKER = "manifest.json"
#: Writes a folder or a file, and dies at the so-manieth call that moves something.
DIES = """
import os, signal, sys
from pathlib import Path
from bertedge import files, scratch

what, path, at, together = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "exchange"
calls = 0

def deadly(function):
    def call(*arguments):
        global calls
        calls += 1
        if calls == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments)
    return call

os.rename, os.replace = deadly(os.rename), deadly(os.replace)
scratch._exchange = deadly(scratch._exchange) if together else lambda one, other: False
if what == "file":
    files.write_text(path, "new")
else:
    with files.new_folder(path, force=True, marker="manifest.json") as folder:
        (folder / "manifest.json").write_text("new")
        if at == 0:
            os.kill(os.getpid(), signal.SIGKILL)
"""
WAITS = """
import sys
import tempfile
from pathlib import Path
from bertedge.files import new_folder
with new_folder(Path(sys.argv[1]), force=True, marker="manifest.json") as folder:
    (folder / "manifest.json").write_text("slow")
    print("ready", flush=True)
    sys.stdin.readline()
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def killed(what: str, path: Path, at: int, how: str) -> None:
    done = subprocess.run([sys.executable, "-c", DIES, what, path, str(at), how], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.fixture
def written(tmp_path: Path) -> Path:
    with new_folder(tmp_path / "out") as folder:
        (folder / MARKER).write_text("old")
    return tmp_path / "out"


@pytest.mark.parametrize(
    ("at", "how", "left"),
    [
        (0, "exchange", "old"),
        (1, "exchange", "old"),
        (1, "in turn", "old"),
        (2, "in turn", "old"),
        (3, "in turn", "new"),
    ],
)
def test_a_killed_swap_leaves_a_whole_folder(written: Path, at: int, how: str, left: str) -> None:
    killed("folder", written, at, how)
    assert len(names(written.parent)) > 1  # something is left to be cleared
    assert written.exists() == ((at, how) != (3, "in turn"))  # between the renames there is nothing under the name
    settle(written)
    assert (written / MARKER).read_text() == left
    assert names(written.parent) == ["out"]


def test_the_next_run_clears_what_killed_ones_left(written: Path) -> None:
    for at, how in ((0, "exchange"), (3, "in turn"), (2, "in turn")):
        killed("folder", written, at, how)
    with new_folder(written, force=True, marker=MARKER) as folder:
        (folder / MARKER).write_text("newest")
    assert (written / MARKER).read_text() == "newest"
    assert names(written.parent) == ["out"]


def test_without_force_what_a_killed_run_had_finished_is_not_replaced(written: Path) -> None:
    killed("folder", written, 3, "in turn")
    with pytest.raises(FileError, match="already there"), new_folder(written):
        pytest.fail("the block must not run")
    assert (written / MARKER).read_text() == "new"


def test_a_killed_write_leaves_the_old_file_and_the_next_one_clears(tmp_path: Path) -> None:
    write_text(tmp_path / "report.json", "old")
    killed("file", tmp_path / "report.json", 1, "exchange")
    assert len(names(tmp_path)) == 2
    assert (tmp_path / "report.json").read_text() == "old"
    write_text(tmp_path / "report.json", "new")
    assert names(tmp_path) == ["report.json"]


def test_scratch_of_a_living_process_stays(written: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WAITS, written], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    before = names(written.parent)
    assert len(before) == 2
    with new_folder(written, force=True, marker=MARKER) as folder:
        (folder / MARKER).write_text("fast")
    assert names(written.parent) == before
    process.communicate("\n")
    assert process.returncode == 0
    assert (written / MARKER).read_text() == "slow"
    assert names(written.parent) == ["out"]


def test_files_of_other_names_are_no_scratch(tmp_path: Path) -> None:
    others = [".out", ".out.txt", ".out.run.0123456789abcdef", ".out.0123456789abcde", "out.0123456789abcdef", ".other"]
    for name in [*others, ".out.0123456789abcdef", ".out.0123456789abcdef.old"]:
        (tmp_path / name).write_text("x")
    settle(tmp_path / "out")
    assert names(tmp_path) == sorted(others)
    assert is_scratch(scratch_name(tmp_path / "a.b").name, "a.b")


def test_one_process_works_in_a_folder(tmp_path: Path) -> None:
    with alone_in(tmp_path / "run", "training"):
        with (
            pytest.raises(FileError, match="another process is training there"),
            alone_in(tmp_path / "run", "training"),
        ):
            pytest.fail("the block must not run")
        child = "from pathlib import Path; from bertedge.files import alone_in\nwith alone_in(Path('run'), 'x'): pass"
        done = subprocess.run([sys.executable, "-c", child], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode
        assert "another process is x there" in done.stderr
    assert names(tmp_path) == []
    (tmp_path / "mine").mkdir()
    with alone_in(tmp_path / "mine", "training"):
        pass
    assert names(tmp_path) == ["mine"]  # who made it keeps it


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="this system has no /proc")
def test_what_is_written_is_on_the_disk_before_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    real_sync, real_rename, real_replace = os.fsync, os.rename, os.replace

    def sync(handle: int) -> None:
        done.append(f"sync {os.path.basename(os.readlink(f'/proc/self/fd/{handle}'))[:2]}")
        real_sync(handle)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "rename", lambda *paths: (done.append("move"), real_rename(*paths)))
    monkeypatch.setattr(os, "replace", lambda *paths: (done.append("move"), real_replace(*paths)))
    with new_folder(tmp_path / "out") as folder:
        (folder / "a").write_text("x")
    parent = f"sync {tmp_path.name[:2]}"
    assert done == ["sync a", "sync .o", "move", parent]
    done.clear()
    write_text(tmp_path / "t", "x")
    assert done == ["sync .t", "move", parent]


@pytest.mark.parametrize("many", [200, 1])
def test_folders_with_links_and_pipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, many: int) -> None:
    """As the system root of an emulated machine: links that lead nowhere here, and many files."""
    monkeypatch.setattr(scratch_module, "MANY_FILES", many)
    with new_folder(tmp_path / "out") as folder:
        (folder / "lib").mkdir()
        (folder / "lib" / "file").write_text("x")
        (folder / "lib64").symlink_to("lib")
        (folder / "nowhere").symlink_to("/no/such/file")
        os.mkfifo(folder / "pipe")
    assert names(tmp_path / "out") == ["lib", "lib64", "nowhere", "pipe"]


HOLDS = """
import sys
from bertedge.scratch import temporary_folder
with temporary_folder() as folder:
    (folder / "model.onnx").write_text("large")
    print(folder, flush=True)
    sys.stdin.readline()
"""


def test_temporary_folders_of_killed_processes_are_cleared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Quantizing and measuring keep whole models there."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", HOLDS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(tmp_path)},
        )
        for _ in range(2)
    ]
    dead, alive = (Path(process.stdout.readline().strip()) for process in processes)  # type: ignore[union-attr]
    processes[0].kill()
    processes[0].wait()
    (tmp_path / "bertedge-other").mkdir()
    assert dead.is_dir()
    with temporary_folder() as own:
        assert names(tmp_path) == sorted(["bertedge-other", alive.name, own.name])
        assert own.stat().st_mode & 0o777 == 0o700
    processes[1].communicate("\n")
    assert names(tmp_path) == ["bertedge-other"]


def test_temporary_files_go_where_python_puts_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found without a file that is written to try the folder: a signal would leave it there."""
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for first, expected in (("folder", tmp_path / "folder"), ("file", None), ("missing", None), ("", None)):
        monkeypatch.setenv("TMPDIR", str(tmp_path / first) if first else "")
        monkeypatch.setattr(tempfile, "tempdir", None)
        assert temporary_place() == Path(tempfile.gettempdir())
        assert expected in (None, temporary_place())
