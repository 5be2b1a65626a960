"""matplotlib, for pictures that are written to files. Every module that draws imports it from here.

A plain ``import matplotlib`` takes over the user's set-up: it fails where ``MPLBACKEND`` names a backend that is not
installed (Jupyter sets one), it writes to stderr where the home folder cannot be written, and it draws in the style of
the user's ``matplotlibrc``. Here the import is quiet, needs no display, and :func:`style` starts from matplotlib's own
defaults, so that the same data gives the same picture on every machine.
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
    """Hide ``MPLBACKEND`` from matplotlib, and its warnings about folders and fonts from stderr."""
    logger = logging.getLogger("matplotlib")
    level, backend = logger.level, os.environ.pop("MPLBACKEND", None)
    logger.setLevel(logging.ERROR)
    try:
        yield
    except OSError as error:  # it needs a folder, if need be a temporary one
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
    from matplotlib.figure import Figure  # unlike pyplot, it opens no window and loads no backend of the user's
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

__all__ = ["Axes", "Figure", "FuncFormatter", "MaxNLocator", "NullLocator", "save", "style"]

#: Names of models stand in pictures as they are; matplotlib would read "$" as mathematics. With a fixed salt the ids
#: of an SVG file are the same each time.
SETTINGS: dict[str, Any] = {"text.parse_math": False, "svg.hashsalt": "bertedge"}
#: The fields that hold the time of drawing, by suffix.
TIMES: dict[str, dict[str, Any]] = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}


@contextmanager
def style(settings: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Draw and save everything inside in matplotlib's default style, changed by ``settings`` (its rcParams)."""
    chosen: dict[Any, Any] = {k: v for k, v in matplotlib.rcParamsDefault.items() if not k.startswith("backend")}
    chosen |= SETTINGS | dict(settings or {})
    with matplotlib.rc_context(chosen), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*[Gg]lyph.*")  # a letter that the font lacks is drawn as a box
        yield


def save(figure: Figure, path: Path, *, hint: str) -> None:
    """Write a picture, in the format of the file's suffix; call it inside :func:`style`.

    Raises:
        FileError: it cannot be written; ``hint`` says which option names the place.
    """
    suffix, drawn = path.suffix.lower(), io.BytesIO()
    figure.savefig(drawn, format=suffix[1:], metadata=TIMES.get(suffix))
    try:
        write_bytes(path, drawn.getvalue())
    except FileError as error:
        raise FileError(error.message, hint) from error
