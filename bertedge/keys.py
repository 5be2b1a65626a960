"""Settings with names: fields of dataclasses with help and a range, set as ``key=value`` or in a TOML file.

A dataclass whose fields are made by :func:`key` is the only place that says what a setting is called, its default, what
it may be and what it does. The command line, TOML files and the Python API all read it.
"""

from __future__ import annotations

import json
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
#: Whole numbers of this size and more are refused.
TOO_LARGE = 2**63


def key(default: Any, help: str, *, one_of: Iterable[Any] = (), **bounds: float) -> Any:
    """A field of a settings dataclass.

    Args:
        one_of: the values that it may have; empty for any.
        bounds: numbers by the names in :data:`BOUNDS`.
    """
    return field(default=default, metadata={"help": help, "one_of": tuple(one_of), "bounds": bounds})


def check_keys(settings: Any) -> None:
    """Check every field that :func:`key` made; None is always allowed.

    Raises:
        UsageError: a value that is not allowed.
    """
    for f in fields(settings):
        value = getattr(settings, f.name)
        if value is None or "help" not in f.metadata:
            continue
        choices, bounds = f.metadata["one_of"], f.metadata["bounds"]
        if choices and value not in choices:
            raise UsageError(f"{f.name} {value!r} is not known", nearest(str(value), map(str, choices)))
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
        """The default, as it is typed."""
        if isinstance(self.default, tuple):
            return ",".join(self.default) or "[]"
        return "" if self.default is None else _toml_value(self.default).strip('"')

    def parsed(self, text: str) -> Any:
        """The value that a text stands for, as in TOML; quotes may be left out.

        Raises:
            UsageError: it stands for none.
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
        """A value from a TOML file, in the type of the setting.

        Raises:
            UsageError: it is of another type.
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
        UsageError: a text without ``=``, an unknown key, a value of another type.
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
        UsageError: an unknown key, a value of another type.
    """
    return {name: _known(name, keys).checked(value) for name, value in table.items()}


def _known(name: str, keys: Mapping[str, Key]) -> Key:
    if name not in keys:
        raise UsageError(f"there is no setting {name!r}", nearest(name, keys))
    return keys[name]


def built(kind: type[Settings], values: Mapping[str, Any]) -> Settings:
    """A settings dataclass from those of the values that are its fields."""
    return kind(**{name: values[name] for name in keys_of(kind) if name in values})


def read_toml(path: Path) -> dict[str, Any]:
    """Parse a TOML file.

    Raises:
        FileError: it cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(read_text(path).removeprefix(BYTE_ORDER_MARK))
    except OSError as error:
        raise FileError(f"{path}: cannot be read ({error.strerror})", "check the path and its permissions") from error
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path}: is not TOML ({error})", "a line looks like: key = value") from error


@contextmanager
def as_file_errors(path: str | Path) -> Iterator[None]:
    """Turn what is wrong with settings into errors of the file that holds them."""
    try:
        yield
    except UsageError as error:
        raise FileError(f"{path}: {error.message}", error.hint) from error


def to_toml(values: Mapping[str, Any]) -> str:
    """Flat values as TOML, a line each; None is left out."""
    return "".join(f"{name} = {_toml_value(value)}\n" for name, value in values.items() if value is not None)


def _toml_value(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml_value, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f") if isinstance(value, str) else repr(value)
