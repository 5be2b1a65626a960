"""Seeded damage to files: to bytes, JSON, TOML, text, arrays and zip archives."""

from __future__ import annotations

import copy
import io
import json
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import numpy as np

#: (the file's bytes, what decides) -> other bytes.
Mutator = Callable[[bytes, Random], bytes]


# -- bytes ------------------------------------------------------------------------------------------------------------
def flip_bits(data: bytes, rng: Random) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        if out:
            out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def truncate(data: bytes, rng: Random) -> bytes:
    return data[: rng.choice((0, 1, len(data) // 2, max(0, len(data) - 1), rng.randrange(len(data) + 1)))]


def insert(data: bytes, rng: Random) -> bytes:
    at = rng.randrange(len(data) + 1)
    piece = rng.choice(
        (rng.randbytes(rng.randrange(1, 40)), b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\x1b[31m", data[:64])
    )
    return data[:at] + piece + data[at:]


def zero_fill(data: bytes, rng: Random) -> bytes:
    start = rng.randrange(len(data) + 1)
    length = min(rng.choice((1, 4, 16, 512, len(data))), len(data) - start)
    return data[:start] + rng.choice((b"\0", b"\xff")) * length + data[start + length :]


def cut_out(data: bytes, rng: Random) -> bytes:
    start = rng.randrange(len(data) + 1)
    return data[:start] + data[start + rng.choice((1, 3, 8, 100, 4096)) :]


def other_number(data: bytes, rng: Random) -> bytes:
    """An aligned little-endian number of 2, 4 or 8 bytes that is suddenly large, small or negative."""
    size = rng.choice((2, 4, 8))
    if len(data) < size:
        return data
    near = rng.choice((len(data), min(len(data), 256)))  # headers stand at the start
    at = rng.randrange(max(1, near - size + 1)) // rng.choice((1, size)) * 1
    value = rng.choice((0, 1, 2 ** (8 * size) - 1, 2 ** (8 * size - 1), 2 ** (8 * size - 2), len(data)))
    return data[:at] + (value % 2 ** (8 * size)).to_bytes(size, "little") + data[at + size :]


BYTES: tuple[Mutator, ...] = (flip_bits, truncate, insert, zero_fill, cut_out, other_number)

# -- JSON -------------------------------------------------------------------------------------------------------------
#: What may stand in the place of any value; a string that starts with ``raw:`` is written as it is.
VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 3, 0.5, -0.5, 1e30, -1e30, 1e308, 3e38, 1e-300, 2**31, 2**63, -(2**63), 10**400,
    "", "x", "nan", "a\nb", "\x1b[2J\x1b[31mred", "\udc80", "../../etc/passwd", "x" * 10_000, "1" * 5_000,
    "é\u202e", "\0", [], {}, [None], [[]], {"": None}, ["x"] * 3, [1e308, -1e308], {"name": "static"}, [0] * 1000,
    "raw:NaN", "raw:Infinity", "raw:-Infinity", "raw:1e999", "raw:" + "9" * 5_000, "raw:-0.0",
    "raw:" + "[" * 500 + "]" * 500, "raw:" + "[" * 100_000, "raw:" + '{"a":' * 500 + "1" + "}" * 500,
)  # fmt: skip
MARK = "\x01mark\x01"


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from _paths(child, (*path, key))


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def _place(tree: Any, rng: Random) -> tuple[Any, Any] | None:
    """A container in the tree and a key in it; every depth is as likely, so that long lists do not get everything."""
    paths = [path for path in _paths(tree) if path]
    if not paths:
        return None
    depth = rng.choice(sorted({len(path) for path in paths}))
    chosen = rng.choice([path for path in paths if len(path) == depth])
    return _at(tree, chosen[:-1]), chosen[-1]


def other_value(tree: Any, rng: Random) -> Any:
    place, value = _place(tree, rng), copy.deepcopy(rng.choice(VALUES))
    if place is None:
        return value
    place[0][place[1]] = value
    return tree


def scaled_number(tree: Any, rng: Random) -> Any:
    """A number that is nearly right."""
    numbers = [p for p in _paths(tree) if p and isinstance(_at(tree, p), int | float) and _at(tree, p) is not True]
    if numbers:
        path = rng.choice(numbers)
        value = _at(tree, path)
        other = rng.choice((-value, value + 1, value - 1, value * 2, value * 1e9, value * 0, float(value)))
        _at(tree, path[:-1])[path[-1]] = other
    return tree


def delete(tree: Any, rng: Random) -> Any:
    if place := _place(tree, rng):
        del place[0][place[1]]
    return tree


def swap(tree: Any, rng: Random) -> Any:
    one, other = _place(tree, rng), _place(tree, rng)
    if one and other:
        first, second = copy.deepcopy(one[0][one[1]]), copy.deepcopy(other[0][other[1]])
        one[0][one[1]] = second
        other[0][other[1]] = first
    return tree


def add_key(tree: Any, rng: Random) -> Any:
    place = _place(tree, rng)
    inside = place[0] if place else tree
    if isinstance(inside, dict):
        inside[rng.choice(("extra", "", "\x1b]0;x\x07", "__class__", "x" * 5000))] = copy.deepcopy(rng.choice(VALUES))
    elif isinstance(inside, list):
        inside.extend(copy.deepcopy(inside[:1]) * rng.choice((1, 1000)))
    return tree


TREE: tuple[Callable[[Any, Random], Any], ...] = (other_value, other_value, scaled_number, delete, swap, add_key)


def written_json(tree: Any) -> bytes:
    """As JSON, with values that start with ``raw:`` as they are."""
    text = json.dumps(tree)
    text = re.sub(r'"raw:((?:[^"\\]|\\.)*)"', lambda match: json.loads(f'"{match[1]}"'), text)
    return text.encode("utf-8", errors="surrogatepass")


def _json(change: Callable[[Any, Random], Any]) -> Mutator:
    def mutate(data: bytes, rng: Random) -> bytes:
        return written_json(change(json.loads(data), rng))

    mutate.__name__ = f"json_{change.__name__}"
    return mutate


def duplicate_key(data: bytes, rng: Random) -> bytes:
    """A key twice; the standard of JSON does not say what it means."""
    keys = list(re.finditer(rb'"[^"\\]{1,40}"\s*:', data))
    if not keys:
        return data
    at = rng.choice(keys).start()
    return data[:at] + rng.choice(keys)[0] + rng.choice((b" null, ", b" 3, ", b' "x", ', b" [], ")) + data[at:]


JSON: tuple[Mutator, ...] = (*map(_json, TREE), *map(_json, TREE), duplicate_key, *BYTES[:4])


# -- lines ------------------------------------------------------------------------------------------------------------
LINES = (
    "", " ", "\t", "\ufeff", "[PAD]", "[MASK]", "##", "x" * 100_000, "\x1b[31m", "a b", "\u2028", "\0", "{}", "a" * 513,
)  # fmt: skip


def other_lines(data: bytes, rng: Random) -> bytes:
    lines = data.decode("utf-8", errors="replace").split("\n")
    for _ in range(rng.choice((1, 2, 10))):
        at = rng.randrange(len(lines))
        action = rng.randrange(5)
        if action == 0:
            lines[at] = rng.choice(LINES)
        elif action == 1:
            lines.insert(at, rng.choice(LINES))
        elif action == 2 and len(lines) > 1:
            del lines[at]
        elif action == 3:
            lines.insert(at, rng.choice(lines))
        else:
            lines = lines[at:] or [""]
    return rng.choice(("\n", "\n", "\r\n", "\r")).join(lines).encode()


def invalid_utf8(data: bytes, rng: Random) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice((b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\x80" * 9)) + data[at:]


def other_encoding(data: bytes, rng: Random) -> bytes:
    return data.decode("utf-8", errors="replace").encode(rng.choice(("utf-16", "utf-32", "utf-8-sig")))


TEXT: tuple[Mutator, ...] = (other_lines, other_lines, other_lines, invalid_utf8, other_encoding, *BYTES[:5])


# -- TOML -------------------------------------------------------------------------------------------------------------
TOML_VALUES = (
    "nan", "inf", "-inf", "-1", "0", "1e400", "1_0", '"x"', "[]", "{}", "true", "9" * 5_000, "1979-05-27",
    '"\\u001b[31m"', "[" * 2_000, "{ max_ratio = 1 }", "'''x", "[[1], [2]]", "12:00:00",
)  # fmt: skip


def other_toml_value(data: bytes, rng: Random) -> bytes:
    text = data.decode()
    places = list(re.finditer(r"(?<==)[^\n=,}]+", text))
    if not places:
        return data
    match = rng.choice(places)
    return (text[: match.start()] + " " + rng.choice(TOML_VALUES) + text[match.end() :]).encode()


def other_toml_key(data: bytes, rng: Random) -> bytes:
    keys = list(re.finditer(rb"[A-Za-z_.]+(?=[^\n=]{0,3}=)", data))
    if not keys:
        return data
    match = rng.choice(keys)
    key = rng.choice((b"x", b'""', b'"\\u001b"', b"a.b.c.d", b"k" * 3000, rng.choice(keys)[0], b"." * 3, b"max_drop"))
    return data[: match.start()] + key + data[match.end() :]


TOML: tuple[Mutator, ...] = (other_toml_value, other_toml_value, other_toml_value, other_toml_key, *TEXT)


# -- arrays in zip archives -------------------------------------------------------------------------------------------
def _arrays(data: bytes) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(data), allow_pickle=False) as stored:
        return dict(stored)


def _npz(arrays: dict[str, np.ndarray], rng: Random) -> bytes:
    buffer = io.BytesIO()
    rng.choice((np.savez, np.savez_compressed))(buffer, **arrays)
    return buffer.getvalue()


def other_array(data: bytes, rng: Random) -> bytes:
    """An array that is missing, of another type or shape, or has odd values."""
    arrays = _arrays(data)
    name = rng.choice(sorted(arrays))
    array = arrays[name]
    action = rng.randrange(8)
    if action == 0:
        del arrays[name]
    elif action == 1:
        kind = rng.choice(("f2", "f4", "f8", ">f4", ">i8", "i1", "u1", "i4", "u8", "c8", "U3", "S1", "?", "M8[s]"))
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            arrays[name] = array.astype(kind)
    elif action == 2:
        arrays[name] = rng.choice((array[:0], array[None], array.reshape(-1), array.T)) if array.ndim else array[None]
    elif action == 3 and array.ndim:
        arrays[name] = np.repeat(array, rng.choice((2, 9, 100)), axis=rng.randrange(array.ndim))
    elif action == 4:
        arrays[rng.choice(("x", "../x", "input.x", "float.", ""))] = array
    elif action == 5:
        arrays = {key: other[:1] if other.ndim else other for key, other in arrays.items()}
    else:
        flat = array.reshape(-1).copy()
        odd = (np.nan, np.inf, -np.inf, 1e30, -1) if array.dtype.kind == "f" else (-1, -(2**62), 2**62, 10**6, 0, 3)
        for _ in range(rng.choice((1, 1, 20))):
            if flat.size:
                flat[rng.randrange(flat.size)] = rng.choice(odd)
        arrays[name] = flat.reshape(array.shape)
    return _npz(arrays, rng)


def _members(data: bytes) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [(name, archive.read(name)) for name in archive.namelist()]


def _zip(members: list[tuple[str, bytes]], kind: int) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that are there twice
        with zipfile.ZipFile(buffer, "w", kind) as archive:
            for name, content in members:
                archive.writestr(name, content)
    return buffer.getvalue()


def other_member(data: bytes, rng: Random) -> bytes:
    """A member that is damaged inside a valid archive, is repeated, or is missing."""
    members = _members(data)
    at = rng.randrange(len(members))
    name, content = members[at]
    action = rng.randrange(6)
    if action == 0:
        members.append((name, content[::-1]))
    elif action == 1:
        del members[at]
    elif action == 2:
        members[at] = (name, bytes(rng.choice((10, 10**6))))
    else:
        members[at] = (name, rng.choice(BYTES)(content, rng))
    return _zip(members, rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)))


def other_npy_header(data: bytes, rng: Random) -> bytes:
    """What an array's own header says."""
    members = _members(data)
    at = rng.randrange(len(members))
    name, content = members[at]
    if not content.startswith(b"\x93NUMPY"):
        return other_member(data, rng)
    length = int.from_bytes(content[8:10], "little")
    header = content[10 : 10 + length].decode("latin1")
    shape = rng.choice(
        ("(2,)", "(-1,)", "(1099511627776, 8)", "(100000000,)", "()", "(True,)", "(1.5,)", "None", "(" * 900)
    )
    descr = rng.choice(("'O'", "'<f8'", "'V2000000000'", "[('a', '<i8')]", "'U1000000000'", "1", "'x'", "[" * 900))
    changes: tuple[Callable[[], str], ...] = (
        lambda: re.sub(r"\([^)]*\)", shape, header, count=1),
        lambda: re.sub(r"'descr': '[^']*'", f"'descr': {descr}", header, count=1),
        lambda: rng.choice(("", "{}", "1", "{'descr': '<i8'}", "__import__('os')", "{" * 3000, "\n" * 100, "'" * 50)),
        lambda: header.replace("False", rng.choice(("True", "2", "None", "'x'"))),
    )
    changed = rng.choice(changes)().encode("latin1")
    version = rng.choice((b"\x01\x00", b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x09\x09"))
    size = len(changed).to_bytes(2 if version[0] == 1 else 4, "little") if rng.random() < 0.9 else b"\xff\xff\xff\x7f"
    members[at] = (name, content[:6] + version + size + changed + content[10 + length :])
    return _zip(members, zipfile.ZIP_DEFLATED)


def other_directory(data: bytes, rng: Random) -> bytes:
    """A field in the zip's directory, in a member's header or at the end of the archive."""
    marks = [match.start() for match in re.finditer(rb"PK(\x01\x02|\x03\x04|\x05\x06)", data)]
    at = rng.choice(marks) + rng.randrange(4, 46)
    size = rng.choice((1, 2, 4))
    value = rng.choice((0, 1, 2 ** (8 * size) - 1, 2 ** (8 * size - 1), rng.randrange(2 ** (8 * size))))
    return data[:at] + value.to_bytes(size, "little") + data[at + size :]


#: What an array that takes 50 kB in the file has unpacked.
BOMB_BYTES = 48_000_000


def bomb(data: bytes, rng: Random) -> bytes:
    """An array that takes a thousand times more memory than its part of the file, under a name that is read."""
    members = _members(data)
    at = rng.randrange(len(members))
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {"descr": "<i8", "fortran_order": False, "shape": (BOMB_BYTES // 64, 8)}
    )
    members[at] = (members[at][0], buffer.getvalue() + bytes(BOMB_BYTES))
    return _zip(members, zipfile.ZIP_DEFLATED)


ZIP: tuple[Mutator, ...] = (other_member, other_member, other_directory, other_directory, *BYTES)
NPZ: tuple[Mutator, ...] = (*[other_array] * 4, *[other_npy_header] * 3, *ZIP)


# -- safetensors ------------------------------------------------------------------------------------------------------
def other_safetensors_header(data: bytes, rng: Random) -> bytes:
    length = int.from_bytes(data[:8], "little")
    header = rng.choice(JSON)(data[8 : 8 + length], rng)
    return len(header).to_bytes(8, "little") + header + data[8 + length :]


def other_weights(data: bytes, rng: Random) -> bytes:
    """Weights that are no numbers, or are no weights."""
    start = 8 + int.from_bytes(data[:8], "little")
    values = np.frombuffer(data[start : len(data) - (len(data) - start) % 4], dtype="<f4").copy()
    first = rng.randrange(len(values))
    size = rng.choice((1, 1, 32, 2000))
    values[first : first + size] = rng.choice((np.nan, np.inf, 3e38, -3e38, 1e30, 1e-45, 65505.0, 0.0))
    return data[:start] + values.tobytes()


SAFETENSORS: tuple[Mutator, ...] = (*[other_safetensors_header] * 4, *[other_weights] * 2, *BYTES)
