"""Pictures depend on what they show, not on the user's set-up of matplotlib."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bertedge.errors import FileError
from bertedge.plotting import Figure, save, style

DRAW = """
import sys
from pathlib import Path
from bertedge.train.curve import check_curve_path, draw_curve
check_curve_path(Path(sys.argv[1]))
draw_curve([{"step": 1, "loss": 2.0, "mlm_accuracy": 0.1, "nsp_accuracy": 0.5, "learning_rate": 1e-3}],
           Path(sys.argv[1]), "$\\\\nonsense$ \\u65e5\\u672c")
"""


def drawn(path: Path, **environment: str) -> bytes:
    """The curve as another process draws it, which may say nothing."""
    done = subprocess.run(
        [sys.executable, "-c", DRAW, path], env=os.environ | environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")
    return path.read_bytes()


def test_pictures_are_the_same_whatever_the_user_set_up(tmp_path: Path) -> None:
    rc = tmp_path / "matplotlibrc"
    rc.write_text("lines.linewidth: 9\nbackend: nope\nsvg.fonttype: none\n")
    expected = drawn(tmp_path / "a.svg")
    jupyter = "module://matplotlib_inline.backend_inline"
    assert drawn(tmp_path / "b.svg", MPLBACKEND="nope", HOME="/dev/null", MPLCONFIGDIR="/dev/null/x") == expected
    assert drawn(tmp_path / "c.svg", MPLBACKEND=jupyter, MATPLOTLIBRC=str(rc)) == expected


def test_the_backend_is_still_there_for_the_user() -> None:
    code = "import bertedge.plotting, os; print(os.environ['MPLBACKEND'])"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"MPLBACKEND": "nope"}, capture_output=True, text=True
    )
    assert done.stdout == "nope\n", done.stderr


@pytest.mark.parametrize("suffix", [".svg", ".pdf", ".png"])
def test_a_picture_does_not_hold_the_time(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = []
    for seconds in ("1000000000", "1700000000"):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", seconds)  # matplotlib takes it for the time of day
        with style():
            figure = Figure()
            figure.subplots().plot([1, 2])
            save(figure, tmp_path / f"picture{suffix}", hint="")
        pictures.append((tmp_path / f"picture{suffix}").read_bytes())
    assert pictures[0] == pictures[1]


def test_style_is_undone(tmp_path: Path) -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    with style({"lines.linewidth": 9}):
        assert matplotlib.rcParams["lines.linewidth"] == 9
    assert dict(matplotlib.rcParams) == before


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with style(), pytest.raises(FileError, match="Not a directory|exists") as caught:
        save(Figure(), tmp_path / "file" / "picture.svg", hint="choose another place")
    assert caught.value.hint == "choose another place"


def test_a_picture_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "picture.svg"
    path.write_text("old")

    def full(*paths: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with style(), pytest.raises(FileError, match="No space left") as caught:
        save(Figure(), path, hint="choose another place")
    assert caught.value.hint == "choose another place"
    assert path.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["picture.svg"]
