"""Text from files as a terminal, a page or a log may show it.

A name or a token may hold anything: escape sequences that clear a terminal or set its title, line breaks that pretend
to be output of ours, marks that turn the order of letters around. What is no letter is shown as Python would spell it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

#: Control characters but for tab and line feed, marks of writing direction, half surrogate pairs, no characters.
UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
BREAKS = re.compile("[\t\n\u2028\u2029]")
#: Characters of a line that is read by people; what is longer loses its middle.
MOST, KEPT_END = 1600, 200
#: How many names of a list stand in a message.
SHOWN = 5


def printable(text: str) -> str:
    """Text with escapes (``\\x1b``) for what cannot be shown; tabs and line feeds stay."""
    return UNPRINTABLE.sub(_escaped, text)


def one_line(text: str) -> str:
    """Text as one line of readable length, with escapes for line breaks too."""
    text = BREAKS.sub(_escaped, printable(text))
    return text if len(text) <= MOST else f"{text[: MOST - KEPT_END]} ... {text[-KEPT_END:]}"


def shown(words: Sequence[str], between: str = ", ", most: int = SHOWN) -> str:
    """The first words of a list, and how many more there are."""
    return between.join(words[:most]) + and_more(len(words) - most)


def and_more(count: int) -> str:
    """`` and 3 more``; nothing where there are none."""
    return f" and {count} more" if count > 0 else ""


def shortened(name: str) -> str:
    """A name as an error quotes it: 60 characters at most."""
    return name if len(name) <= 60 else f"{name[:57]}..."


def _escaped(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")


def rounded_percent(share: float) -> str:
    """A share in percent, with a decimal below 10 %: ``1.2 %``, ``12 %``."""
    return f"{100 * share:.1f} %" if share < 0.1 else f"{100 * share:.0f} %"
