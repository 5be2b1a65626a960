"""Make text from files safe to show in a terminal, a page or a log.

A name or a token can contain anything: escape sequences that clear a terminal, line breaks that imitate bertedge's own
output, or marks that reverse the order of letters. Such characters are shown as Python's escapes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

#: Control characters except tab and line feed, marks of writing direction, lone surrogates, and noncharacters.
UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
BREAKS = re.compile("[\t\n\u2028\u2029]")
#: Largest length of a line. A longer one loses its middle and keeps this many characters of its end.
MOST, KEPT_END = 1600, 200
#: How many names of a list a message shows.
SHOWN = 5


def printable(text: str) -> str:
    """Replace unprintable characters by escapes (``\\x1b``). Tabs and line feeds stay."""
    return UNPRINTABLE.sub(_escaped, text)


def one_line(text: str) -> str:
    """Turn text into one printable line of limited length. Line breaks become escapes."""
    text = BREAKS.sub(_escaped, printable(text))
    return text if len(text) <= MOST else f"{text[: MOST - KEPT_END]} ... {text[-KEPT_END:]}"


def shown(words: Sequence[str], between: str = ", ", most: int = SHOWN) -> str:
    """Join the first words of a list, and say how many more there are."""
    return between.join(words[:most]) + and_more(len(words) - most)


def and_more(count: int) -> str:
    """`` and 3 more``, or nothing if ``count`` is 0."""
    return f" and {count} more" if count > 0 else ""


def shortened(name: str) -> str:
    """Cut a name to 60 characters for an error message."""
    return name if len(name) <= 60 else f"{name[:57]}..."


def _escaped(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")


def differences_in_words(what: str) -> Callable[[float], str]:
    """A function that puts a share of equal answers in words: ``0.4 % of the labels differ``."""

    def words(equal: float) -> str:
        if equal >= 1:
            return f"all {what} as in float"
        share = "under 0.1 %" if equal > 0.9995 else rounded_percent(1 - equal)
        return f"{share} of the {what} differ"

    return words


def rounded_percent(share: float) -> str:
    """A share in percent, with a decimal below 10 %: ``1.2 %``, ``12 %``."""
    return f"{100 * share:.1f} %" if share < 0.1 else f"{100 * share:.0f} %"


def at_least(value: float) -> str:
    """A lower bound in four decimals, rounded down: 0.99997 is not shown as 1.

    A value less than a millionth below 1 counts as 1, because of rounding in float32. NaN stays ``nan``.
    """
    whole = value if math.isnan(value) else math.floor(round(value, 6) * 1e4 + 1e-6) / 1e4
    return f"{whole:.4f}"
