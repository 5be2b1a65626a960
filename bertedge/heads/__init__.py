"""The table of heads: a new head is one file and one row here."""

from __future__ import annotations

from bertedge.heads.embedding import EMBEDDING
from bertedge.heads.head import Head
from bertedge.heads.mlm import MLM
from bertedge.heads.nsp import NSP

#: Name -> head, in the order of reports.
HEADS: dict[str, Head] = {head.name: head for head in (MLM, NSP, EMBEDDING)}

#: The same, those of pairs last: the order in which one of them is taken as a model's main head.
MAIN_FIRST = sorted(HEADS.values(), key=lambda head: head.reads == "pair")

__all__ = ["HEADS", "MAIN_FIRST", "Head"]
