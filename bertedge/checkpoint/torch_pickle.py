"""The pickle inside ``pytorch_model.bin``, read without torch and without running its code.

A pickle is a program for a small stack machine. Only the instructions that ``torch.save`` writes for a state dict are
supported here.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bertedge.checkpoint.torch_objects import (
    KNOWN,
    STORAGES,
    TORCH_CONSTANT,
    Name,
    RefusedPickle,
    Storage,
    dotted,
    rebuilt,
)

#: A state dict of a thousand tensors has a quarter of a megabyte.
MAX_BYTES = 4 << 20
KEY_TYPES = (str, int, float, bool, type(None))


def read_pickle(data: bytes) -> Any:
    """The value of a pickle: plain values, lists, tuples, dicts and :class:`StoredTensor`.

    Raises:
        RefusedPickle: it names something that tensors do not need, or is damaged.
    """
    if len(data) > MAX_BYTES:
        raise RefusedPickle(f"its list of tensors has {len(data):,} bytes, more than {MAX_BYTES:,}")
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name == "STOP":
                return machine.pop()
            machine.step(opcode.name, argument)
    except RefusedPickle:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise RefusedPickle("its list of tensors is damaged") from error
    raise RefusedPickle("its list of tensors is cut off")


@dataclass
class _Machine:
    """The stack, its marks, and the memo."""

    stack: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def step(self, opcode: str, argument: Any) -> None:
        """Execute one instruction."""
        if opcode in IGNORED:
            return
        if opcode in CONSTANTS:
            self.stack.append(CONSTANTS[opcode]())
        elif opcode in ARGUMENTS:
            self.stack.append(argument)
        elif opcode in TUPLES:
            self.stack.append(tuple(self.pop_many(TUPLES[opcode])))
        elif opcode in ACTIONS:
            ACTIONS[opcode](self, argument)
        else:
            raise RefusedPickle(f"its list of tensors has the instruction {opcode}, which no state dict needs")

    def pop(self) -> Any:
        return self.pop_many(1)[0]

    def pop_many(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise LookupError("the stack is empty")
        found = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return found

    def pop_to_mark(self) -> list[Any]:
        return self.pop_many(len(self.stack) - self.marks.pop())


def _set_items(target: Any, items: list[Any]) -> None:
    """Put alternating keys and values into a dict."""
    if not isinstance(target, dict):
        raise TypeError("items for a value that is not a dict")
    for key, value in zip(items[::2], items[1::2], strict=True):
        if not isinstance(key, KEY_TYPES):
            raise RefusedPickle("its list of tensors has a key that is neither a text nor a number")
        target[key] = value


def _append(target: Any, items: list[Any]) -> None:
    if not isinstance(target, list):
        raise TypeError("items for a value that is not a list")
    target.extend(items)


def _call(machine: _Machine, _: Any) -> None:
    function, arguments = machine.pop_many(2)
    machine.stack.append(rebuilt(function, arguments))


def _name(machine: _Machine, argument: str) -> None:
    if argument not in KNOWN and not TORCH_CONSTANT.fullmatch(argument):
        raise RefusedPickle(f"it holds {dotted(argument)}, not only tensors")
    machine.stack.append(Name(argument))


def _stack_name(machine: _Machine, _: Any) -> None:
    module, name = machine.pop_many(2)
    if not isinstance(module, str) or not isinstance(name, str):
        raise TypeError("a name that is not a text")
    _name(machine, f"{module} {name}")


def _put(machine: _Machine, index: int | None) -> None:
    machine.memo[len(machine.memo) if index is None else index] = machine.stack[-1]


def _build(machine: _Machine, _: Any) -> None:
    """Attributes, such as torch's ``_metadata`` of an ordered dict, are not needed."""
    machine.pop()
    if not isinstance(machine.stack[-1], dict):
        raise TypeError("attributes for a value that has none")


def _storage(machine: _Machine, _: Any) -> None:
    """``("storage", class, record, device, elements)``; the size of the record counts, not ``elements``."""
    _, kind, record, *_ = machine.pop()
    if kind.path not in STORAGES or not isinstance(record, str):
        raise RefusedPickle(f"it holds the unknown storage {dotted(kind.path)}")
    machine.stack.append(Storage(STORAGES[kind.path], record))


IGNORED = {"PROTO", "FRAME"}
CONSTANTS: dict[str, Callable[[], Any]] = {
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
}
ARGUMENTS = {
    "BININT",
    "BININT1",
    "BININT2",
    "LONG1",
    "BINFLOAT",
    "BINUNICODE",
    "SHORT_BINUNICODE",
    "BINUNICODE8",
    "BINBYTES",
    "SHORT_BINBYTES",
}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
ACTIONS: dict[str, Callable[[_Machine, Any], None]] = {
    "MARK": lambda machine, _: machine.marks.append(len(machine.stack)),
    "TUPLE": lambda machine, _: machine.stack.append(tuple(machine.pop_to_mark())),
    "LIST": lambda machine, _: machine.stack.append(machine.pop_to_mark()),
    "SETITEM": lambda machine, _: _set_items(machine.stack[-3], machine.pop_many(2)),
    "SETITEMS": lambda machine, _: _set_items(machine.stack[machine.marks[-1] - 1], machine.pop_to_mark()),
    "APPEND": lambda machine, _: _append(machine.stack[-2], machine.pop_many(1)),
    "APPENDS": lambda machine, _: _append(machine.stack[machine.marks[-1] - 1], machine.pop_to_mark()),
    "BINPUT": _put,
    "LONG_BINPUT": _put,
    "MEMOIZE": _put,
    "BINGET": lambda machine, index: machine.stack.append(machine.memo[index]),
    "LONG_BINGET": lambda machine, index: machine.stack.append(machine.memo[index]),
    "GLOBAL": _name,
    "STACK_GLOBAL": _stack_name,
    "REDUCE": _call,
    "NEWOBJ": _call,
    "BUILD": _build,
    "BINPERSID": _storage,
}
