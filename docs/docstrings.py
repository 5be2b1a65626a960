"""An extension of griffe for the page of the Python API: Sphinx roles in docstrings become code."""

from __future__ import annotations

import re
from typing import Any

import griffe

ROLE = re.compile(r":\w+:(`[^`]+`)")


class PlainRoles(griffe.Extension):
    """``:func:`load``` becomes ```load```."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """griffe calls this for every object that it has loaded."""
        if obj.docstring:
            obj.docstring.value = ROLE.sub(r"\1", obj.docstring.value)
