"""The labels of a classifier, from ``config.json`` and the size of its last layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bertedge.printable import shown

#: Labels that a list names.
LISTED = 10


def labels_of(raw: Mapping[str, Any], size: int) -> tuple[str, ...]:
    """The label of each output. The tensor decides how many there are.

    Args:
        raw: the content of ``config.json``; ``id2label`` names the labels. Those without a name are ``LABEL_3``.
        size: outputs of the classifier's last layer.
    """
    named = raw.get("id2label")
    by_id = {str(key): value for key, value in named.items()} if isinstance(named, Mapping) else {}
    return tuple(str(by_id.get(str(index), f"LABEL_{index}")) for index in range(size))


def place_of(label: Any, labels: Sequence[str]) -> int | None:
    """The output of a label in a user's file, which is given by its name or as a number from 0; None if unknown.

    Numbers are not counted where a label is itself called like a number: 1 would be the first of 1 to 5 stars.
    """
    name = str(label).strip()
    if name in labels:
        return labels.index(name)
    counts = name.isdecimal() and int(name) < len(labels) and not any(map(str.isdecimal, labels))
    return int(name) if counts else None


def label_keys(labels: Sequence[str]) -> dict[str, Any]:
    """The keys of ``config.json`` for labels."""
    ids = {str(index): label for index, label in enumerate(labels)}
    return {"id2label": ids, "label2id": {label: index for index, label in enumerate(labels)}}


def listed(labels: Sequence[str]) -> str:
    """``77 labels: age_limit, apple_pay, ... and 67 more``."""
    return f"{len(labels)} label{'' if len(labels) == 1 else 's'}: {shown(labels, most=LISTED)}"


def about_labels(raw: Mapping[str, Any], size: int) -> tuple[str, ...]:
    """A sentence if ``id2label`` names other labels than the tensor has."""
    named = raw.get("id2label")
    if not isinstance(named, Mapping):
        return ()
    ids = {str(key) for key in named}
    if ids == {str(index) for index in range(size)}:
        return ()
    count = "1 output" if size == 1 else f"{size} outputs"
    return (
        f"config.json names {len(ids)} labels in id2label, but the classifier has {count}; "
        "the tensor decides, and labels without a name are called LABEL_0, LABEL_1, ...",
    )
