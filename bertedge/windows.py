"""Texts that are longer than the model reads, as windows that overlap, so that nothing is lost."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence

import tokenizers

from bertedge.encoding import Encoding, about_unknown
from bertedge.errors import UnknownTextWarning, UsageError
from bertedge.template import Frame
from bertedge.texts import Pair, texts_or_pairs
from bertedge.tokenizer import Tokenizer
from bertedge.tokenizer_json import library_errors


def windows_of(
    tokenizer: Tokenizer, texts: Iterable[str | Pair], *, stride: int, max_length: int | None = None
) -> list[list[Encoding]]:
    """Encode texts whole: one window for a text that fits, several for a longer one.

    Each window has the special tokens of a text of its own, and its offsets count in the whole text. Of a pair, the
    second text is cut, and every window begins with the first: a question and a part of its context.

    Args:
        stride: how many tokens a window shares with the one before it.
        max_length: tokens of a window at most, special tokens included; default: ``tokenizer.max_length``.

    Returns:
        The windows of each text, in its order. Those of a text that is cut have ``truncated`` set.

    Raises:
        UsageError: an item is not a text; or a window would have no room for a token beyond the first text, the special
            tokens and the stride.

    Warns:
        UnknownTextWarning: how many texts, or texts of a pair, consist of unknown words only.
    """
    checked = texts_or_pairs(texts)
    pairs = [(one, None) if isinstance(one, str) else one for one in checked]
    with library_errors():
        first = iter(tokenizer.bare.encode_batch([one for one, _ in pairs]))
        second = iter(tokenizer.bare.encode_batch([pair for _, pair in pairs if pair is not None]))
    parts = [[next(first)] if pair is None else [next(first), next(second)] for _, pair in pairs]
    unknown = [index for index, own in enumerate(parts) if tokenizer.without_words(own)]
    if unknown:
        warnings.warn(UnknownTextWarning(about_unknown(unknown, len(parts)), len(unknown)), stacklevel=2)
    length = tokenizer.max_length if max_length is None else max_length
    return [_windows(tokenizer, own, stride, length) for own in parts]


def _windows(
    tokenizer: Tokenizer, texts: Sequence[tokenizers.Encoding], stride: int, max_length: int
) -> list[Encoding]:
    """The windows of one text, or of a pair.

    Args:
        texts: without special tokens.
    """
    *question, last = texts
    frame = tokenizer.template.pair if question else tokenizer.template.single
    room = max_length - frame.count - sum(len(one.ids) for one in question)
    cut = len(last.ids) > room
    if stride < 0 or (cut and stride >= room):
        raise _no_room(max_length, stride, room, paired=bool(question))
    if cut:
        last.truncate(room, stride=stride)
    laid_out = tokenizer.with_special(texts[0], last if question else None)
    return [_window(source, frame, question, cut) for source in (laid_out, *laid_out.overflowing)]


def _window(source: tokenizers.Encoding, frame: Frame, question: Sequence[tokenizers.Encoding], cut: bool) -> Encoding:
    before = [len(one.ids) for one in question]
    counts = [*before, len(source.ids) - frame.count - sum(before)]
    # the library sets the segments of the first window only
    _, segments = frame.lay_out(*([0] * count for count in counts))
    return Encoding(input_ids=source.ids, token_type_ids=segments, truncated=cut, source=source)


def _no_room(max_length: int, stride: int, room: int, *, paired: bool) -> UsageError:
    limit = f"the {max_length} tokens that the model reads"
    if room < 1:
        which, way_out = ("the first text", "shorten it") if paired else ("the special tokens", "use a longer limit")
        return UsageError(f"{which} leave{'s' * paired} no room for a window in {limit}", way_out)
    return UsageError(f"a stride of {stride} tokens, expected 0 to {room - 1}", f"a window has room for {room} tokens")
