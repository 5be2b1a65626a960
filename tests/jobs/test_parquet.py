"""Parquet: row groups of any sizes, types that are kept, and values that JSON lacks."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install 'bertedge[data]'")

import pyarrow.parquet as pq  # noqa: E402

from bertedge.errors import CorpusError  # noqa: E402
from bertedge.jobs import parquet_output, row_tables  # noqa: E402
from bertedge.jobs.parquet_input import ArrowRows, parquet_blocks  # noqa: E402
from bertedge.jobs.row_tables import Position  # noqa: E402


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_tables, "BLOCK_ROWS", 6)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("sizes", [[20], [1] * 20, [2, 7, 1, 1, 9], [6, 6, 6, 2], [0, 3, 17]])
def test_blocks_do_not_depend_on_where_reading_begins(sizes: list[int], tmp_path: Path) -> None:
    table, begins = pa.table({"n": range(20), "text": [f"text {n}" for n in range(20)]}), 0
    with pq.ParquetWriter(tmp_path / "in.parquet", table.schema) as writer:
        for size in sizes:
            writer.write_table(table.slice(begins, size))
            begins += size
    blocks = [*parquet_blocks(tmp_path / "in.parquet", Position())]
    assert [n for block in blocks for n in block.table.column("n")] == [*range(20)]
    assert all(0 < len(block.lines) <= 6 for block in blocks)
    assert [line for block in blocks for line in block.lines] == [*range(1, 21)]
    assert blocks[-1].share == 1
    for index, block in enumerate(blocks):
        rest = [*parquet_blocks(tmp_path / "in.parquet", block.position)]
        assert [one.lines for one in rest] == [one.lines for one in blocks[index + 1 :]]


def test_blocks_of_long_texts_are_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_tables, "BLOCK_BYTES", 5_000)
    table = pa.table({"text": [f"{n:03} " * 250 for n in range(40)]})
    pq.write_table(table, tmp_path / "in.parquet", compression="none", use_dictionary=False)
    blocks = [*parquet_blocks(tmp_path / "in.parquet", Position())]
    assert max(len(block.lines) for block in blocks) <= 5


def test_values_that_json_lacks() -> None:
    moment = datetime.datetime(2024, 2, 29, 12, 30)
    table = pa.table(
        {
            "day": pa.array([datetime.date(2024, 2, 29), None]),
            "moment": pa.array([moment, None], pa.timestamp("ns")),
            "price": pa.array([Decimal("1.50"), None]),
            "bytes": pa.array([b"\x00\xff", None]),
            "kind": pa.array(["a", None]).dictionary_encode(),
        }
    )
    first, second = ArrowRows(table).rows()
    assert first["moment"].startswith("2024-02-29 12:30:00")
    assert {**first, "moment": None} == {
        "day": "2024-02-29",
        "moment": None,
        "price": "1.50",
        "bytes": "AP8=",
        "kind": "a",
    }
    assert set(second.values()) == {None}


def test_texts_that_are_not_utf8_are_bytes() -> None:
    broken = pa.array([b"good", b"\xff", None], pa.binary()).view(pa.string())
    for column in (broken, broken.dictionary_encode()):
        rows = ArrowRows(pa.table({"text": column}))
        assert rows.column("text") == ["good", b"\xff", None]
        assert rows.rows()[1] == {"text": b"\xff"}


@pytest.mark.parametrize("damage", [lambda data: data[:-20], lambda data: data[:4] + bytes(40) + data[44:]])
def test_a_damaged_file_is_told(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": [f"text {n}" for n in range(300)]}), tmp_path / "in.parquet")
    (tmp_path / "in.parquet").write_bytes(damage((tmp_path / "in.parquet").read_bytes()))
    with pytest.raises(CorpusError, match="not Parquet, or damaged"):
        list(parquet_blocks(tmp_path / "in.parquet", Position()))


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], ["text", "text"]), tmp_path / "in.parquet")
    with pytest.raises(CorpusError, match="same name"):
        next(parquet_blocks(tmp_path / "in.parquet", Position()))


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, None], pa.int64()),
        ([1, 2.5], pa.float64()),
        ([None, None], pa.string()),
        ([1, "x"], pa.string()),
        ([[1], [None]], pa.list_(pa.int64())),
        ([[], [None]], pa.string()),
        ([{"a": 1}, {"b": "x"}], pa.struct([("a", pa.int64()), ("b", pa.string())])),
        ([2**70], pa.string()),
    ],
)
def test_types_of_json_values(values: list[Any], kind: Any) -> None:
    assert parquet_output._type_of(values) == kind
    assert [*parquet_output._unfit(values, kind)] == []


def test_row_groups_do_not_depend_on_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_output, "GROUP_ROWS", 10)
    tables = [pa.table({"n": range(count)}) for count in (4, 4, 4, 9, 1)]
    assert [group.num_rows for group in parquet_output._groups(tables[0], iter(tables[1:]))] == [8, 4, 10]
