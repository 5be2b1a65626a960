"""Templates for corpora and layouts that are made without a tokenizer."""

from __future__ import annotations

from bertedge.template import Frame, Template


def template(cls: int = 2, sep: int = 3) -> Template:
    """BERT's: ``[CLS] A [SEP]`` and ``[CLS] A [SEP] B [SEP]``."""
    start, end, last = ((cls, 0),), ((sep, 0),), ((sep, 1),)
    return Template(
        single=Frame(special=(start, end), segments=(0,)),
        pair=Frame(special=(start, end, last), segments=(0, 1)),
    )
