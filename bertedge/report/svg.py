"""matplotlib figures as SVG inside a page.

Lines and marks have colours that are visible on light and on dark cards. The page's style sheet (``.drawing text``)
sets the colour and font of text, so the same picture works in both themes and in print.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bertedge.plotting import Axes, Figure, style

#: Width of a chart in pixels: the width of a phone, so that its text is never much smaller than that of the page.
WIDTH = 340
TEXT_SIZE, SMALL = 12, 10.5
#: Pixels per inch; with this number, one point in matplotlib is one pixel.
PIXELS = 72

LINE, GRID = "#7c8896", "#7c889640"
#: Colour, marker and dash of each model. Markers differ too, for readers who cannot see colours. The first is the
#: reference.
COLORS = ("#7c8896", "#2f7fd6", "#d2691e", "#159a6c", "#a855c7", "#e0405a", "#8f8a10", "#0d93a6")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")
DASHES = ("-", "-", "--", "-.", ":", (0, (6, 1)), (0, (3, 1, 1, 1)), (0, (1, 2)))

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "axes.unicode_minus": True,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "font.size": TEXT_SIZE,
    "axes.labelsize": TEXT_SIZE,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "axes.edgecolor": LINE,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.8,
    "lines.markersize": 7,
}
#: Parts of matplotlib's files that are removed; a style, for example, would change the whole page.
FOR_FILES = re.compile(
    r'<metadata>.*?</metadata>|<style.*?</style>| id="\w+(?:\.\w+)?_\d+"|(?<=<svg )[^>]*?(?=viewBox)', re.DOTALL
)


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A picture.

    Attributes:
        svg: the ``svg`` element; its ids are unique in the page.
        words: a description for readers who cannot see it.
    """

    svg: str
    words: str


def look_of(series: int) -> dict[str, Any]:
    """Marker and colour of a model, as matplotlib's keywords. The reference, 0, is hollow; candidates are filled."""
    color = color_of(series)
    return {
        "color": color,
        "marker": MARKERS[_repeated(series)],
        "markerfacecolor": "none" if series == 0 else color,
        "markeredgecolor": color,
        "markeredgewidth": 1.6,
    }


def color_of(series: int) -> str:
    """The colour of a model."""
    return COLORS[_repeated(series)]


def dash_of(series: int) -> str | tuple[int, tuple[int, ...]]:
    """The dashes of a model's lines."""
    return DASHES[_repeated(series)]


def _repeated(series: int) -> int:
    """The index of the style of a model. With more than eight models, styles repeat, except that of the reference."""
    return series if series == 0 else 1 + (series - 1) % (len(MARKERS) - 1)


@contextmanager
def drawing() -> Iterator[None]:
    """Draw everything inside in the report's style."""
    with style(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*constrained_layout not applied.*")
        yield


def new_chart(height: float) -> tuple[Figure, Axes]:
    """A figure with one panel; ``height`` is in pixels."""
    figure = Figure(figsize=(WIDTH / PIXELS, height / PIXELS), dpi=PIXELS, layout="constrained")
    return figure, figure.subplots()


def finish(figure: Figure, *, name: str, words: str) -> Drawing:
    """Turn a figure into a picture.

    Args:
        name: unique in the page; the picture's ids depend on it.
        words: a description for readers who cannot see it.
    """
    buffer = io.StringIO()
    with style(STYLE | {"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    return Drawing(svg=FOR_FILES.sub("", text[text.index("<svg") :]), words=words)


def marker_symbol(series: int, name: str) -> str:
    """The marker of a model as a ``symbol`` with the id ``name``, for legends."""
    with drawing():
        figure = Figure(figsize=(16 / PIXELS, 16 / PIXELS), dpi=PIXELS)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.plot(0, 0, **look_of(series) | {"markersize": 9})
        svg = finish(figure, name=name, words="").svg
    return re.sub(r"^<svg ", f'<symbol id="{name}" ', svg).replace("</svg>", "</symbol>")
