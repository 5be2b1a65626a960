"""Settings with names: fields of dataclasses with help and a range, set as ``key=value`` or in a TOML file.

A dataclass with fields from :func:`key` is the only place that defines a setting: its name, default, allowed values and
help. The command line, TOML files and the Python API all use it.
"""

from __future__ import annotations

import json
import math
import operator
import tomllib
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from bertedge.errors import FileError, UsageError, nearest
from bertedge.files import read_text

Settings = TypeVar("Settings")
#: Name of a bound -> its test.
BOUNDS = {"above": operator.gt, "at_least": operator.ge, "below": operator.lt, "at_most": operator.le}
WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", tuple: "a list of texts"}
#: Some editors write it at the start of a UTF-8 file.
BYTE_ORDER_MARK = "\ufeff"
#: Whole numbers of this size or larger are refused.
TOO_LARGE = 2**63


def key(default: Any, help: str, *, one_of: Iterable[Any] = (), **bounds: float) -> Any:
    """A field of a settings dataclass.

    Args:
        one_of: the allowed values; empty if all values are allowed.
        bounds: limits, by their names in :data:`BOUNDS`.
    """
    return field(default=default, metadata={"help": help, "one_of": tuple(one_of), "bounds": bounds})


def check_keys(settings: Any) -> None:
    """Check every field that :func:`key` made. None is always allowed.

    Raises:
        UsageError: a value is not allowed.
    """
    for f in fields(settings):
        value = getattr(settings, f.name)
        if value is None or "help" not in f.metadata:
            continue
        choices, bounds = f.metadata["one_of"], f.metadata["bounds"]
        if choices and value not in choices:
            raise UsageError(f"{f.name} {value!r} is not known", nearest(str(value), map(str, choices)))
        if isinstance(value, float) and math.isinf(value):
            raise UsageError(f"{f.name} is {value}, expected a finite number", "see --help")
        if not all(BOUNDS[name](value, bound) for name, bound in bounds.items()):
            expected = " and ".join(f"{name.replace('_', ' ')} {bound:g}" for name, bound in bounds.items())
            raise UsageError(f"{f.name} is {value}, expected {expected}", "see --help")


@dataclass(frozen=True, kw_only=True)
class Key:
    """A setting by its name; ``kind`` is the type of its values."""

    name: str
    kind: type
    default: Any
    help: str
    one_of: tuple[Any, ...] = ()

    def shown_default(self) -> str:
        """The default as a user would type it."""
        if isinstance(self.default, tuple):
            return ",".join(self.default) or "[]"
        return "" if self.default is None else _toml_value(self.default).strip('"')

    def parsed(self, text: str) -> Any:
        """Parse a value that is written as in TOML; quotes may be left out.

        Raises:
            UsageError: the text is not a value of the setting's type.
        """
        if self.kind is str and not text.startswith(("'", '"')):
            return text
        try:
            (value,) = tomllib.loads(f"value = {text}").values()  # a text of several lines is several values
        except (ValueError, RecursionError):
            names = (name.strip() for name in text.split(","))
            value = [name for name in names if name] if self.kind is tuple else text
        return self.checked(value)

    def checked(self, value: Any) -> Any:
        """A value from a TOML file, converted to the type of the setting.

        Raises:
            UsageError: the value has another type.
        """
        if self.kind is tuple:
            value = [value] if isinstance(value, str) else value
            if isinstance(value, list) and all(isinstance(item, str) for item in value):
                return tuple(value)
        elif type(value) is int and self.kind in (int, float) and abs(value) < TOO_LARGE:
            return self.kind(value)
        elif type(value) is self.kind and self.kind is not int:
            return value
        example = "see --help" if self.default is None else f"for example {self.name} = {_toml_value(self.default)}"
        raise UsageError(f"{self.name}: {str(value)[:60]!r} is not {WORDS[self.kind]}", example)


def keys_of(*settings: type) -> dict[str, Key]:
    """The settings of dataclasses by name."""
    return {
        f.name: Key(
            name=f.name,
            kind=_kind(typing.get_type_hints(kind)[f.name]),
            default=f.default,
            help=f.metadata["help"],
            one_of=f.metadata["one_of"],
        )
        for kind in settings
        for f in fields(kind)
        if "help" in f.metadata
    }


def _kind(hint: Any) -> type:
    """The type of an annotation, without None, Literal and the types of items."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        hint = next(part for part in typing.get_args(hint) if part is not type(None))
    return str if typing.get_origin(hint) is typing.Literal else typing.get_origin(hint) or hint


def read_assignments(assignments: Iterable[str], keys: Mapping[str, Key]) -> dict[str, Any]:
    """The values of ``key=value`` texts; a later one replaces an earlier one.

    Raises:
        UsageError: a text has no ``=``, a key is unknown, or a value has another type.
    """
    values = {}
    for assignment in assignments:
        name, equals, text = (part.strip() for part in assignment.partition("="))
        if not equals:
            raise UsageError(f"--set {assignment!r}: there is no '='", "for example --set key=value")
        values[name] = _known(name, keys).parsed(text)
    return values


def read_table(table: Mapping[str, Any], keys: Mapping[str, Key]) -> dict[str, Any]:
    """The values of a TOML table.

    Raises:
        UsageError: a key is unknown, or a value has another type.
    """
    return {name: _known(name, keys).checked(value) for name, value in table.items()}


def _known(name: str, keys: Mapping[str, Key]) -> Key:
    if name not in keys:
        raise UsageError(f"there is no setting {name!r}", nearest(name, keys))
    return keys[name]


def built(kind: type[Settings], values: Mapping[str, Any]) -> Settings:
    """Build a settings dataclass. Values that are not its fields are ignored."""
    return kind(**{name: values[name] for name in keys_of(kind) if name in values})


def read_toml(path: Path) -> dict[str, Any]:
    """Parse a TOML file.

    Raises:
        FileError: the file cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(read_text(path).removeprefix(BYTE_ORDER_MARK))
    except OSError as error:
        raise FileError(f"{path}: cannot be read ({error.strerror})", "check the path and its permissions") from error
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path}: is not TOML ({error})", "a line looks like: key = value") from error


@contextmanager
def as_file_errors(path: str | Path) -> Iterator[None]:
    """Turn errors of settings into errors of the file that contains the settings."""
    try:
        yield
    except UsageError as error:
        raise FileError(f"{path}: {error.message}", error.hint) from error


def to_toml(values: Mapping[str, Any]) -> str:
    """Values as TOML, one line for each. None is left out."""
    return "".join(f"{name} = {_toml_value(value)}\n" for name, value in values.items() if value is not None)


def _toml_value(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml_value, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f") if isinstance(value, str) else repr(value)
