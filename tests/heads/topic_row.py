"""Adds the head of ``topic.py`` to the table: what ``bertedge/heads/__init__.py`` would say of it."""

from __future__ import annotations

import bertedge.heads as table
from tests.heads.topic import TOPIC, TopicMethod


class HeadMethods(table.HeadMethods, TopicMethod):
    """With the new head's method."""


table.HEADS["topic"] = TOPIC
table.BY_VERB["topic"] = TOPIC
table.MAIN_FIRST.insert(0, TOPIC)
table.HeadMethods = HeadMethods  # type: ignore[misc]
