"""The table of heads: a new head is one file and one row here."""

from __future__ import annotations

from bertedge.heads.embedding import EMBEDDING
from bertedge.heads.encode import Encode
from bertedge.heads.fill_mask import FillMask
from bertedge.heads.head import Head
from bertedge.heads.mlm import MLM
from bertedge.heads.nsp import NSP, NextSentenceMethod

#: Name -> head, in the order of reports.
HEADS: dict[str, Head] = {head.name: head for head in (MLM, NSP, EMBEDDING)}


class HeadMethods(FillMask, NextSentenceMethod, Encode):
    """The methods of all heads, for :class:`bertedge.BertRuntime`."""


#: The same, those of pairs last: the order in which one of them is taken as a model's main head.
MAIN_FIRST = sorted(HEADS.values(), key=lambda head: head.reads == "pair")

__all__ = ["HEADS", "MAIN_FIRST", "Head", "HeadMethods"]
