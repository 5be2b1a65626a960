"""matplotlib figures as SVG that takes its colours and its font from the page around it.

matplotlib knows colours only as numbers. Every colour here is a number that stands for a variable of the page's style
sheet and is replaced by it in the finished picture, so that one picture serves light and dark pages and paper.
"""

from __future__ import annotations

import io
import re
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bertedge.plotting import Axes, Figure, style
from bertedge.report.words import printable

#: Pixels that a chart is drawn for: a phone's width, so that its text is never much smaller than the page's.
WIDTH = 340
TEXT_SIZE, SMALL = 12, 10.5
#: In an inch, so that matplotlib's points are pixels of the picture.
PIXELS = 72
SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"
ET.register_namespace("", SVG)
ET.register_namespace("xlink", XLINK)

#: Roles of the style sheet -> the number that stands for them.
ROLES = ("ink", "muted", "grid", "card", *(f"series-{index}" for index in range(8)))
COLORS = {role: f"#fa10{index:02x}" for index, role in enumerate(ROLES)}
INK, MUTED, GRID, CARD = (COLORS[role] for role in ROLES[:4])
PLACEHOLDER = re.compile("#fa10([0-9a-f]{2})")

#: Shape and dash of each series: they tell it apart without its colour. The first is the reference.
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
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.8,
    "lines.markersize": 7,
}


def series_color(series: int) -> str:
    """The colour of a model; 0 is the reference."""
    return COLORS[f"series-{_wrapped(series)}"]


def look_of(series: int) -> dict[str, Any]:
    """Shape and colour of a model, as matplotlib's keywords; the reference is hollow, candidates are filled."""
    color = series_color(series)
    return {
        "color": color,
        "marker": MARKERS[_wrapped(series)],
        "markerfacecolor": CARD if series == 0 else color,
        "markeredgecolor": color,
        "markeredgewidth": 1.6,
    }


def dash_of(series: int) -> str | tuple[int, tuple[int, ...]]:
    """How the lines of a model are dashed."""
    return DASHES[_wrapped(series)]


def _wrapped(series: int) -> int:
    """Beyond eight models shapes come again, the reference's excepted."""
    return series if series == 0 else 1 + (series - 1) % (len(MARKERS) - 1)


@contextmanager
def drawing() -> Iterator[None]:
    """Everything between is drawn in the report's style; letters that the font lacks are the reader's font's affair."""
    with style(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*constrained_layout not applied.*")
        yield


def new_chart(height: float, *, width: float = WIDTH) -> tuple[Figure, Axes]:
    """A figure of one panel, in pixels."""
    figure = Figure(figsize=(width / PIXELS, height / PIXELS), dpi=PIXELS, layout="constrained")
    return figure, figure.subplots()


def finish(figure: Figure, *, name: str, title: str, description: str) -> str:
    """The SVG element of a figure.

    Args:
        name: unique in the page; all ids of the picture start with it.
        title: what it shows, for those who do not see it.
        description: what is to be seen there.
    """
    buffer = io.StringIO()
    with style(STYLE | {"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = PLACEHOLDER.sub(lambda match: f"var(--{ROLES[int(match[1], 16)]})", buffer.getvalue())
    root = ET.fromstring(text)
    for parent in root.iter():
        for child in list(parent):
            if child.tag in (f"{{{SVG}}}metadata", f"{{{SVG}}}style"):  # a style here would rule the whole page
                parent.remove(child)
    _rename(root, name)
    for size in ("width", "height"):
        root.attrib.pop(size, None)
    for position, (tag, words) in enumerate((("title", title), ("desc", description))):
        element = ET.Element(f"{{{SVG}}}{tag}", {"id": f"{name}-{tag}"})
        element.text = printable(words)
        root.insert(position, element)
    root.attrib |= {"role": "img", "aria-labelledby": f"{name}-title", "aria-describedby": f"{name}-desc"}
    return ET.tostring(root, encoding="unicode")


def marker_symbol(series: int, name: str) -> str:
    """The shape of a model alone as a ``symbol`` with the id ``name``, for legends."""
    with drawing():
        figure = Figure(figsize=(16 / PIXELS, 16 / PIXELS), dpi=PIXELS)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.plot(0, 0, **look_of(series) | {"markersize": 9})
        root = ET.fromstring(finish(figure, name=name, title="", description=""))
    symbol = ET.Element(f"{{{SVG}}}symbol", {"id": name, "viewBox": root.attrib["viewBox"]})
    symbol.extend(list(root)[2:])  # without title and description: it stands beside a name that says the same
    return ET.tostring(symbol, encoding="unicode")


def _rename(root: ET.Element, name: str) -> None:
    """Ids that something points to get the chart's name in front, all others go: ids are unique in a page."""
    pointed = set(re.findall(r"#([\w-]+)", " ".join(value for e in root.iter() for value in e.attrib.values())))
    for element in root.iter():
        own = element.attrib.pop("id", None)
        if own in pointed:
            element.attrib["id"] = f"{name}-{own}"
        for key, value in element.attrib.items():
            if key == f"{{{XLINK}}}href":
                element.attrib[key] = value.replace("#", f"#{name}-")
            elif "url(#" in value:
                element.attrib[key] = value.replace("url(#", f"url(#{name}-")
