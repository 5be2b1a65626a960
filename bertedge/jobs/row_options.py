"""Options of a command that are the same for all rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from bertedge.errors import UsageError, nearest
from bertedge.heads.verb import REQUIRED, Option, Verb
from bertedge.texts import described


class RowOptions(NamedTuple):
    """Checked options.

    Attributes:
        plain: name -> value, of those that say how rows are answered.
        shared: ``text`` or ``pair`` -> the text that is the first or the second one of all rows.
    """

    plain: dict[str, Any]
    shared: dict[str, str]


def row_options(verb: Verb, given: Mapping[str, Any]) -> RowOptions:
    """Check what is given. None stands for a text that is not given.

    Raises:
        UsageError: an option is not known, has no effect on rows, has a value of another type, or is missing.
    """
    known = {option.name: option for option in verb.options}
    for name, value in given.items():
        if name not in known:
            raise UsageError(f"{verb.name} has no option {name!r}", nearest(name, known))
        if not known[name].of_rows:
            raise UsageError(f"option {name} of {verb.name} has no effect on rows", "leave it out")
        if not _is_of(known[name], value):
            expected = known[name].kind.__name__
            raise UsageError(f"option {name} is {described(value)}, expected {expected}", known[name].help)
    for name, option in known.items():
        if option.of_rows and option.default is REQUIRED and not option.gives and name not in given:
            raise UsageError(f"option {name} is missing", option.help)
    shared = {str(known[name].gives): value for name, value in given.items() if known[name].gives and value is not None}
    return RowOptions({name: value for name, value in given.items() if not known[name].gives}, shared)


def _is_of(option: Option, value: Any) -> bool:
    if value is None:
        return option.default is None or option.gives is not None
    return type(value) is option.kind
