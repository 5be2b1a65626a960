"""Records to JSON and back, and what is wrong in a file is named."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bertedge.bounds import Count, Ratio, Share
from bertedge.errors import FileError
from bertedge.recipe import QuantizationRecipe
from bertedge.records import finite, from_json, read_json, to_json, write_json

FUZZ = settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])


@dataclass(frozen=True)
class Inner:
    share: float
    shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class Outer:
    name: str
    kind: Literal["mlm", "nsp"]
    inner: Inner
    count: int = 0
    exact: bool = False
    seed: int | None = None
    rows: tuple[tuple[Inner, ...], ...] = ()
    parts: Mapping[str, Inner] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    rest: Any = None


EXAMPLE = Outer(
    name="ä",
    kind="nsp",
    inner=Inner(share=0.5, shape=(2, 3)),
    seed=7,
    rows=((Inner(share=1.0),), ()),
    parts={"a": Inner(share=2.0, shape=(1,))},
    notes=["x"],
    rest={"deep": [1, None]},
)

numbers = st.floats(allow_nan=False, allow_infinity=False)
inners = st.builds(Inner, share=numbers, shape=st.lists(st.integers()).map(tuple))
outers = st.builds(
    Outer,
    name=st.text(),
    kind=st.sampled_from(["mlm", "nsp"]),
    inner=inners,
    count=st.integers(),
    exact=st.booleans(),
    seed=st.none() | st.integers(),
    rows=st.lists(st.lists(inners, max_size=3).map(tuple), max_size=3).map(tuple),
    parts=st.dictionaries(st.text(), inners, max_size=3),
    notes=st.lists(st.text(), max_size=3),
)
any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | st.text(max_size=8),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(st.text(max_size=8), inside, max_size=4),
    max_leaves=12,
)


def raw(**changes: object) -> dict[str, Any]:
    """``EXAMPLE`` as parsed JSON, with changes."""
    return {**to_json(EXAMPLE), **changes}


def test_a_record_comes_back_from_its_file(tmp_path: Path) -> None:
    write_json(tmp_path / "record.json", EXAMPLE)
    assert from_json(Outer, read_json(tmp_path / "record.json")) == EXAMPLE


@FUZZ
@given(outers)
def test_any_record_comes_back_from_its_file(tmp_path: Path, record: Outer) -> None:
    write_json(tmp_path / "record.json", record)
    assert from_json(Outer, read_json(tmp_path / "record.json")) == record


def test_a_name_that_is_not_utf8_comes_back(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9")  # Python gives the stray byte half a surrogate pair
    write_json(tmp_path / "a.json", {"name": name, "path": "\\udc80"})
    assert read_json(tmp_path / "a.json") == {"name": name, "path": "\\udc80"}


def test_json_holds_plain_values() -> None:
    assert to_json({1: EXAMPLE.inner, "b": (1, [2.5, None])}) == {
        "1": {"share": 0.5, "shape": [2, 3]},
        "b": [1, [2.5, None]],
    }
    assert to_json(EXAMPLE)["rows"] == [[asdict(Inner(share=1.0)) | {"shape": []}], []]


def test_files_are_readable_by_people(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"name": "Zürich", "list": [1]})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n  "name": "Zürich",\n  "list": [\n    1\n  ]\n}\n'


def test_defaults_fill_what_is_not_said() -> None:
    record = from_json(Outer, {"name": "a", "kind": "mlm", "inner": {"share": 1}})
    assert record == Outer(name="a", kind="mlm", inner=Inner(share=1.0))
    assert isinstance(record.inner.share, float)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (raw(extra=1), r"report: unknown key 'extra'"),
        (raw(inner={"share": 1, "b": 1, "a": 1}), r"report\.inner: unknown key 'a', 'b'"),
        ({"kind": "mlm"}, r"report: missing key 'inner', 'name'"),
        (raw(name=3), r"report\.name: 3 is not str"),
        (raw(count=True), r"report\.count: True is not int"),
        (raw(count=1.0), r"report\.count: 1\.0 is not int"),
        (raw(exact=1), r"report\.exact: 1 is not bool"),
        (raw(kind="MLM"), r"report\.kind: 'MLM' is not 'mlm' or 'nsp'"),
        (raw(kind=[]), r"report\.kind"),
        (raw(seed="7"), r"report\.seed: '7' is not int"),
        (raw(inner=None), r"report\.inner: None is not an object"),
        (raw(inner={"share": True}), r"report\.inner\.share: True is not float"),
        (raw(inner={"share": 10**400}), r"report\.inner\.share: 1000"),
        (raw(rows=[[], [{"share": "x"}]]), r"report\.rows\[1\]\[0\]\.share: 'x' is not float"),
        (raw(rows="ab"), r"report\.rows: 'ab' is not a list"),
        (raw(parts=[]), r"report\.parts: \[\] is not an object"),
        (raw(parts={"p": 1}), r"report\.parts\.p: 1 is not an object"),
        ([], r"report: \[\] is not an object"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(value: object, words: str) -> None:
    with pytest.raises(FileError, match=words) as caught:
        from_json(Outer, value, "report")
    assert len(caught.value.message) < 140
    assert caught.value.hint


def test_a_value_nested_without_end_is_refused() -> None:
    nested: list = []
    for _ in range(20_000):
        nested = [nested]
    with pytest.raises(FileError, match=r"\$\.name"):
        from_json(Outer, raw(name=nested))


@settings(max_examples=150)
@given(any_json | st.dictionaries(st.sampled_from([*to_json(EXAMPLE), "other"]), any_json))
def test_any_json_is_a_record_or_a_file_error(value: object) -> None:
    try:
        record = from_json(Outer, value)
    except FileError as error:
        assert str(error).count("\n") == 1
    else:
        assert isinstance(record, Outer)


@settings(max_examples=100)
@given(st.sampled_from([name for name in to_json(EXAMPLE) if name != "rest"]), any_json)
def test_one_spoilt_field_is_a_file_error_or_of_its_type(name: str, value: object) -> None:
    try:
        record = from_json(Outer, raw(**{name: value}))
    except FileError as error:
        assert error.message.startswith(f"$.{name}")
    else:
        assert type(getattr(record, name)) in {str, Inner, int, bool, type(None), tuple, dict, list}


@FUZZ
@given(st.binary() | any_json.map(json.dumps).map(str.encode))
def test_any_bytes_are_json_or_a_file_error(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(data)
    try:
        value = read_json(path)
    except FileError as error:
        assert str(path) in error.message
    else:
        assert json.dumps(value) == json.dumps(json.loads(data.decode("utf-8")))


@pytest.mark.parametrize("data", [b"", b"{", b'{"a": 1', b"\xff\xfe", b"[" * 200_000, b"1" * 5000, b"\xef\xbb\xbf{}"])
def test_broken_json_names_the_file(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.json").write_bytes(data)
    with pytest.raises(FileError, match="a.json: is not JSON"):
        read_json(tmp_path / "a.json")


@pytest.mark.parametrize(("name", "words"), [("none.json", "No such file"), (".", "Is a directory")])
def test_json_that_cannot_be_read(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(FileError, match=words):
        read_json(tmp_path / name)


@given(any_json)
def test_what_is_no_number_becomes_none(value: Any) -> None:
    strict = json.dumps(finite(value), allow_nan=False)
    assert json.loads(strict) == json.loads(json.dumps(value), parse_constant=lambda name: None)


@dataclass(frozen=True, kw_only=True)
class Bounded:
    share: Share = 0.5
    ratio: Ratio | None = None
    count: Count = 0
    shares: tuple[Share, ...] = ()
    by_name: dict[str, Share] = field(default_factory=dict)

    def flaw(self) -> str | None:
        return "more shares than counted" if len(self.shares) > self.count else None


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"share": 1.5}, r"\$.share: 1.5 is not a number from 0 to 1"),
        ({"share": None}, r"\$.share: None is not a number from 0 to 1"),
        ({"share": float("nan")}, r"\$.share: nan is not"),
        ({"ratio": -1.0}, r"\$.ratio: -1.0 is not a number from 0 to 1e\+09"),
        ({"count": -1}, r"\$.count: -1 is not"),
        ({"count": 10**300}, r"\$.count: 1000"),
        ({"count": 3, "shares": [0.0, 2.0]}, r"\$.shares\[1\]: 2.0"),
        ({"by_name": {"x" * 500: 7.0}}, r"\$.by_name.xxx[^:]{,80}: 7.0 is not"),
        ({"shares": [0.0]}, r"\$: more shares than counted"),
        ({"y" * 500: 1}, "unknown key 'yyyy.{,80}\n"),
    ],
)
def test_a_number_out_of_its_range(raw: dict, words: str) -> None:
    with pytest.raises(FileError, match=words):
        from_json(Bounded, raw)


def test_numbers_in_their_range() -> None:
    assert from_json(Bounded, {"share": 1, "ratio": None, "count": 2**63 - 1, "shares": [0.0, 1.0]}).shares == (0, 1)
    assert Bounded(share=7.0).share == 7.0  # only what comes from a file is checked


@dataclass(frozen=True, kw_only=True)
class Wrapped:
    recipe: QuantizationRecipe


def test_a_wrong_option_in_a_file_is_the_files_fault() -> None:
    with pytest.raises(FileError, match=r"\$.recipe: held_out is 9.0, expected at least 0"):
        from_json(Wrapped, {"recipe": {"held_out": 9.0}})
