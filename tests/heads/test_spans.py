"""Labels as spans: BIO, BIOES, BILOU and plain labels."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertedge.heads.token_classification.spans import OUTSIDE, Span, TagSet

BIO = TagSet(("O", "B-PER", "I-PER", "B-LOC", "I-LOC"))
BIOES = TagSet(("O", *(f"{prefix}-{kind}" for kind in ("PER", "LOC") for prefix in "BIES")))
BILOU = TagSet(("O", *(f"{prefix}-{kind}" for kind in ("PER", "LOC") for prefix in "BILU")))
PLAIN = TagSet(("O", "PER", "LOC", "E-mail"))


@pytest.mark.parametrize(
    ("tags", "labels", "spans"),
    [
        (BIO, "O", []),
        (BIO, "", []),
        (BIO, "B-PER", [(0, 1, "PER")]),
        (BIO, "O B-PER I-PER O", [(1, 3, "PER")]),
        (BIO, "B-PER B-PER I-PER", [(0, 1, "PER"), (1, 3, "PER")]),
        (BIO, "I-PER I-PER O I-LOC", [(0, 2, "PER"), (3, 4, "LOC")]),  # no beginning, as in the first CoNLL task
        (BIO, "B-PER I-LOC I-LOC", [(0, 1, "PER"), (1, 3, "LOC")]),
        (BIOES, "S-PER S-PER", [(0, 1, "PER"), (1, 2, "PER")]),
        (BIOES, "B-PER I-PER E-PER O S-LOC", [(0, 3, "PER"), (4, 5, "LOC")]),
        (BIOES, "B-PER E-PER E-PER", [(0, 2, "PER"), (2, 3, "PER")]),
        (BIOES, "E-PER I-PER", [(0, 1, "PER"), (1, 2, "PER")]),
        (BILOU, "B-PER L-PER U-PER I-LOC L-LOC", [(0, 2, "PER"), (2, 3, "PER"), (3, 5, "LOC")]),
        (PLAIN, "PER PER O LOC PER E-mail E-mail", [(0, 2, "PER"), (3, 4, "LOC"), (4, 5, "PER"), (5, 7, "E-mail")]),
    ],
)
def test_spans_of_labels(tags: TagSet, labels: str, spans: list[Span]) -> None:
    assert tags.spans([tags.labels.index(label) for label in labels.split()]) == spans


def test_kinds_have_no_prefix() -> None:
    assert BIO.kinds == BIOES.kinds == BILOU.kinds == ("PER", "LOC")
    assert PLAIN.kinds == ("PER", "LOC", "E-mail")
    assert TagSet(("B-PER", "I-PER", "S-Bahn", "-", "B-")).kinds == ("PER", "S-Bahn", "-", "B-")


@pytest.mark.parametrize("tags", [BIO, BIOES, BILOU])
@given(data=st.data())
def test_written_spans_are_read_again(tags: TagSet, data: st.DataObject) -> None:
    lengths = data.draw(st.lists(st.integers(1, 4), max_size=4))
    spans, place = [], 0
    for length in lengths:
        place += data.draw(st.integers(0, 2))
        spans.append((place, place + length, data.draw(st.sampled_from(tags.kinds))))
        place += length
    written = tags.labels_of(spans, place)
    assert set(written) <= {*tags.labels}
    assert tags.spans([tags.labels.index(label) for label in written]) == spans


def test_plain_labels_are_written_as_they_are() -> None:
    assert PLAIN.labels_of([(1, 3, "PER")], 4) == [OUTSIDE, "PER", "PER", OUTSIDE]
