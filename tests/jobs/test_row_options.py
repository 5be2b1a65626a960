"""Options that are the same for all rows: the same rules for files and for batches."""

from __future__ import annotations

from typing import Any

import pytest

from bertedge.errors import UsageError
from bertedge.heads import BY_VERB
from bertedge.jobs.row_options import row_options


@pytest.mark.parametrize(
    ("verb", "given", "plain", "shared"),
    [
        ("embed", {"dimensions": 8, "normalize": True}, {"dimensions": 8, "normalize": True}, {}),
        ("rerank", {"query": "Who?"}, {}, {"text": "Who?"}),
        ("classify", {"pair": None}, {}, {}),
    ],
)
def test_texts_of_all_rows_are_told_from_other_options(
    verb: str, given: dict[str, Any], plain: dict[str, Any], shared: dict[str, str]
) -> None:
    assert row_options(BY_VERB[verb].verb, given) == (plain, shared)


@pytest.mark.parametrize(
    ("verb", "given", "message"),
    [
        ("embed", {"normalise": True}, "embed has no option 'normalise'"),
        ("rerank", {"query": "Who?", "top": 2}, "option top of rerank has no effect on rows"),
        ("embed", {"dimensions": True}, r"option dimensions is True \(bool\), expected int"),
        ("rerank", {"query": 1}, r"option query is 1 \(int\), expected str"),
    ],
)
def test_wrong_options_are_refused(verb: str, given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        row_options(BY_VERB[verb].verb, given)
