"""Cut a line of many sentences.

bertedge has its own rules, because no library fits: ``pysbd``, ``blingfire``, ``syntok`` and ``sentence-splitter`` have
had no release since 2022, and ``sentencex`` needs to know the language. The rules must also stay the same, because the
same text has to give the same bundle. A wrong cut does little harm: pairs and stretches join sentences again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from bertedge.data.text_files import BLOCK

#: A sentence of fewer characters ("No." "Mr.") is joined to the next one.
SHORT = 20
CLOSING = "\"'’”»›)\\]}」』】》）"
#: Ends of sentences: in most scripts a space follows, in Chinese and Japanese none does.
END = re.compile(rf"[.!?…؟۔।॥։።။។]+[{CLOSING}]*\s+(?=\S)|[。！？｡]+[{CLOSING}]*\s*(?=\S)")


def split_sentences(text: str) -> list[str]:
    """Cut a text after each sentence. The parts joined are the text.

    A full stop after a single letter ("J. Smith"), or before a small letter, does not end a sentence.
    """
    parts, start = [], 0
    for match in END.finditer(text):
        stop = match.end()
        if stop - start < SHORT or text[stop].islower() or _is_initial(text, match.start()):
            continue
        parts.append(text[start:stop])
        start = stop
    return [*parts, text[start:]]


def _is_initial(text: str, dot: int) -> bool:
    """Whether there is a single letter before a full stop."""
    return text[dot] == "." and text[dot - 1 : dot].isalpha() and not text[max(dot - 2, 0) : dot - 1].isalnum()


def line_or_sentences(parts: Iterable[tuple[str, bool]]) -> Iterator[str]:
    """Join the parts of one line. A line of at most one block is yielded whole, a longer one in sentences.

    Args:
        parts: text of one block at most, and whether the line ends with it; the last part ends it.

    Yields:
        Text of at most two blocks, without white space at its ends; a single empty text for a blank line.
    """
    rest, long = "", False
    for part, ended in parts:
        rest += part
        if ended and not long and len(rest) <= BLOCK:
            yield rest.strip()
            return
        long = True
        *whole, rest = split_sentences(rest)
        while len(rest) > BLOCK:
            end = rest.rfind(" ", BLOCK // 2, BLOCK) + 1 or BLOCK
            whole, rest = [*whole, rest[:end]], rest[end:]
        yield from filter(None, (sentence.strip() for sentence in whole))
    if rest.strip() or not long:
        yield rest.strip()
