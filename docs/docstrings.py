"""An extension of griffe: docstrings that are written for Sphinx become Markdown."""

from __future__ import annotations

import re
from typing import Any

import griffe

ROLE = re.compile(r":\w+:(`[^`]+`)")


class AsMarkdown(griffe.Extension):
    """``:func:`load``` becomes ```load```, and ``::`` in front of code becomes ``:``."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """griffe calls this for every object that it has loaded."""
        if obj.docstring:
            obj.docstring.value = ROLE.sub(r"\1", obj.docstring.value).replace("::\n", ":\n")
