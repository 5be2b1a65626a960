"""onnxruntime's telemetry is off: no socket, no file, no message, no thread that could make them later."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import bertedge
from bertedge.bundle import Bundle
from bertedge.engines.onnxruntime.versions import is_new_enough

PACKAGE_PARENT = str(Path(bertedge.__file__).parents[1])
#: The number of the system call ``socket``.
SOCKET = {"x86_64": 41, "aarch64": 198}
#: Has the kernel kill the process at its first socket, whoever opens it, by a seccomp filter, which needs no root.
NO_SOCKETS = """
import ctypes, struct
LOAD, IF_EQUAL, RETURN, KILL, ALLOW = 0x20, 0x15, 0x06, 0x80000000, 0x7FFF0000
steps = ((LOAD, 0, 0, 0), (IF_EQUAL, 0, 1, {socket}), (RETURN, 0, 0, KILL), (RETURN, 0, 0, ALLOW))
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
program = ctypes.create_string_buffer(struct.pack("HP", len(steps), ctypes.addressof(code)))
prctl = ctypes.CDLL(None, use_errno=True).prctl
prctl.argtypes = [ctypes.c_int] + 4 * [ctypes.c_ulong]
assert prctl(38, 1, 0, 0, 0) == 0, "PR_SET_NO_NEW_PRIVS"
assert prctl(22, 2, ctypes.addressof(program), 0, 0) == 0, "PR_SET_SECCOMP"
"""
USE = """
import sys, bertedge
bert = bertedge.load(sys.argv[1], engine="onnxruntime", threads=1)
bert.fill_mask("The cat sat on the [MASK].")
import os
print(len(os.listdir("/proc/self/task")))
"""
seccomp = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in SOCKET, reason="seccomp and /proc are Linux's"
)


def run(code: str, *arguments: str, home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a program as a user with an empty home, outside CI (where onnxruntime keeps quiet), without other threads."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={
            "PYTHONPATH": PACKAGE_PARENT,
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            **{name: str(home / name) for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")},
            "OPENBLAS_NUM_THREADS": "1",
            "TOKENIZERS_PARALLELISM": "false",
            **variables,
        },
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )


@seccomp
def test_the_kernel_would_tell(tmp_path: Path) -> None:
    """The filter of the next test does what it says."""
    filter = NO_SOCKETS.format(socket=SOCKET[platform.machine()])
    assert run(f"{filter}\nprint('alive')", home=tmp_path).stdout == "alive\n"
    assert run(f"{filter}\nimport socket\nsocket.socket()", home=tmp_path).returncode < 0


@seccomp
def test_loading_and_predicting_open_no_socket_and_leave_no_file(
    bundle_of: Callable[..., Bundle], tmp_path: Path
) -> None:
    filter = NO_SOCKETS.format(socket=SOCKET[platform.machine()])
    done = run(filter + USE, str(bundle_of("static").folder), home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    # telemetry opens its socket some seconds later, in a thread of its own that is there from the beginning
    assert done.stdout == "1\n"


@pytest.mark.parametrize("chosen", ["0", ""])
def test_what_the_user_chose_stays(chosen: str, tmp_path: Path) -> None:
    code = "import bertedge.cli.app, os; print(repr(os.environ['ORT_DISABLE_TELEMETRY']))"
    assert run(code, home=tmp_path, ORT_DISABLE_TELEMETRY=chosen).stdout == f"{chosen!r}\n"
    assert run(code, home=tmp_path).stdout == "'1'\n"


@pytest.mark.parametrize("chosen", [{}, {"ORT_DISABLE_TELEMETRY": "0"}, {"ORT_DISABLE_TELEMETRY": "1"}])
def test_an_onnxruntime_that_was_imported_first_is_told_of(
    chosen: dict[str, str], bundle_of: Callable[..., Bundle], tmp_path: Path
) -> None:
    """With telemetry, a process that is forked hangs or is aborted at exit; who chose it is told nothing."""
    code = "import sys, onnxruntime, bertedge; bertedge.load(sys.argv[1], engine='onnxruntime')"
    said = run(code, str(bundle_of("static").folder), home=tmp_path, **chosen).stderr
    if chosen or not is_new_enough("1.29"):
        assert said == ""
    else:
        assert said.startswith("onnxruntime was imported before bertedge: its telemetry is on")
        assert "set ORT_DISABLE_TELEMETRY=1" in said
