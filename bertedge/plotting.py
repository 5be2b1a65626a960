"""matplotlib for pictures in files. Every module that draws imports matplotlib from this module.

A plain ``import matplotlib`` depends on the user's set-up. It fails if ``MPLBACKEND`` names a backend that is not
installed (Jupyter sets one), it writes to stderr if the home folder cannot be written, and it draws in the style of the
user's ``matplotlibrc``. Here the import is quiet and needs no display, and :func:`style` starts from matplotlib's
defaults. So the same data gives the same picture on every machine.
"""

from __future__ import annotations

import io
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bertedge.errors import FileError
from bertedge.files import write_bytes


@contextmanager
def _quiet_import() -> Iterator[None]:
    """Import matplotlib without ``MPLBACKEND`` and without its warnings about folders and fonts."""
    logger = logging.getLogger("matplotlib")
    level, backend = logger.level, os.environ.pop("MPLBACKEND", None)
    logger.setLevel(logging.ERROR)
    try:
        yield
    except OSError as error:  # it needs a folder that it can write
        raise FileError(
            f"matplotlib finds no folder for its files ({error.strerror or 'none can be written'})",
            "set MPLCONFIGDIR to a folder that can be written",
        ) from error
    finally:
        logger.setLevel(level)
        if backend is not None:
            os.environ["MPLBACKEND"] = backend


with _quiet_import():
    import matplotlib
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure  # unlike pyplot, this loads no backend
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

__all__ = ["Axes", "Figure", "FuncFormatter", "MaxNLocator", "NullLocator", "save", "style"]

#: Names of models are plain text, so "$" must not start a formula. A fixed salt keeps the ids of SVG files.
SETTINGS: dict[str, Any] = {"text.parse_math": False, "svg.hashsalt": "bertedge"}
#: Suffix of a picture -> the fields with the time of drawing, which are left out.
TIMES: dict[str, dict[str, Any]] = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}


@contextmanager
def style(settings: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Draw and save in matplotlib's default style, changed by ``settings`` (its rcParams), inside this context."""
    chosen: dict[Any, Any] = {k: v for k, v in matplotlib.rcParamsDefault.items() if not k.startswith("backend")}
    chosen |= SETTINGS | dict(settings or {})
    with matplotlib.rc_context(chosen), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*[Gg]lyph.*")  # the font lacks a letter: a box is drawn
        yield


def save(figure: Figure, path: Path, *, hint: str) -> None:
    """Write a picture in the format of the file's suffix. Call this inside :func:`style`.

    Args:
        hint: second line of the error, which should name the option for the path.

    Raises:
        FileError: the picture cannot be written.
    """
    suffix, drawn = path.suffix.lower(), io.BytesIO()
    figure.savefig(drawn, format=suffix[1:], metadata=TIMES.get(suffix))
    try:
        write_bytes(path, drawn.getvalue())
    except FileError as error:
        raise FileError(error.message, hint) from error
