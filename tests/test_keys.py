"""Settings by name: types, ranges, TOML."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertedge.errors import UsageError
from bertedge.keys import check_keys, key, keys_of, read_assignments, read_table, to_toml


@dataclass(frozen=True, kw_only=True)
class Oven:
    """Settings of every type."""

    degrees: float = key(180.0, "Heat.", above=0, at_most=300)
    minutes: int | None = key(None, "Time.", at_least=1)
    fan: bool = key(True, "Whether air moves.")
    mode: Literal["bake", "grill"] = key("bake", "How to heat.", one_of=("bake", "grill"))
    dishes: tuple[str, ...] = key((), "What is in it.")

    def __post_init__(self) -> None:
        check_keys(self)


KEYS = keys_of(Oven)


@pytest.mark.parametrize(
    ("assignment", "value"),
    [
        ("degrees=200", 200.0),
        ("degrees = 2e2", 200.0),
        ("minutes=5", 5),
        ("fan=false", False),
        ("mode=grill", "grill"),
        ("dishes=pie", ("pie",)),
        ("dishes=pie,bread", ("pie", "bread")),
        ('dishes=["a,b", "c"]', ("a,b", "c")),
        ("dishes=a=b", ("a=b",)),
        ("dishes=", ()),
        ("dishes=[]", ()),
        ("dishes=pie, bread,", ("pie", "bread")),
        ('mode="grill"', "grill"),
        ("mode = 'grill'", "grill"),
    ],
)
def test_values_are_typed_as_people_type_them(assignment: str, value: object) -> None:
    (read,) = read_assignments([assignment], KEYS).values()
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    "assignment",
    [
        "degrees=hot",
        "degrees=true",
        "minutes=1.5",
        "fan=1",
        "fan=yes",
        "minutes=1e400",
        f"minutes={10**30}",
        "minutes=1\nfan=true",
    ],
)
def test_a_value_of_another_type_is_an_error_that_names_the_setting(assignment: str) -> None:
    with pytest.raises(UsageError) as raised:
        read_assignments([assignment], KEYS)
    assert assignment.split("=")[0] in raised.value.message
    assert raised.value.hint


def test_an_unknown_setting_lists_similar_ones() -> None:
    with pytest.raises(UsageError, match="'degree'") as raised:
        read_assignments(["degree=1"], KEYS)
    assert "did you mean 'degrees'?" in raised.value.hint
    with pytest.raises(UsageError, match="there is no '='"):
        read_assignments(["fan"], KEYS)


def test_infinity_is_refused_where_there_is_no_upper_bound() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Run:
        minutes: float = key(1.0, "Time.", above=0)

    with pytest.raises(UsageError, match="minutes is inf, expected a finite number"):
        check_keys(Run(minutes=float("inf")))


@pytest.mark.parametrize(
    "wrong", [{"degrees": 0.0}, {"degrees": 301.0}, {"degrees": float("nan")}, {"minutes": 0}, {"mode": "x"}]
)
def test_ranges_are_checked(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError) as raised:
        Oven(**wrong)  # type: ignore[arg-type]
    assert next(iter(wrong)) in raised.value.message


@given(
    st.builds(
        Oven,
        degrees=st.floats(1, 300),
        minutes=st.none() | st.integers(1, 2**40),
        fan=st.booleans(),
        dishes=st.lists(st.text(st.characters(exclude_categories=["Cs"]))).map(tuple),
    )
)
def test_settings_survive_toml(oven: Oven) -> None:
    values = {name: getattr(oven, name) for name in KEYS}
    assert Oven(**read_table(tomllib.loads(to_toml(values)), KEYS)) == oven
