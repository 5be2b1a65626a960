"""The tables of targets, and their copy in the documentation."""

from __future__ import annotations

from pathlib import Path

from bertedge.report.targets import NARROW, fit_rows, markdown, target_rows
from bertedge.target import TARGETS

PAGE = Path(__file__).parents[2] / "docs" / "targets.md"


def test_the_page_has_the_tables_as_they_are() -> None:
    assert markdown() in PAGE.read_text(encoding="utf-8"), "put the output of 'bertedge info --markdown' there"


def test_a_row_for_every_target() -> None:
    for rows in (target_rows(), target_rows(NARROW), fit_rows()):
        assert [row[0] for row in rows[1:]] == list(TARGETS)
        assert len({len(row) for row in rows}) == 1


def test_where_bundles_are_correct() -> None:
    head, *rows = fit_rows()
    becomes = {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in rows}
    assert becomes["avx512-vnni"]["on avx2"] == "refused"
    assert becomes["avx512-vnni"]["on arm64"] == "correct"
    assert becomes["arm64"]["on an unknown CPU"] == "refused"
    assert becomes["avx2"]["on amx"] == "correct, less accurate, warns"
    assert becomes["portable"]["on amx"] == "correct, less accurate"
    assert "refused" not in becomes["portable"].values()


def test_cells_are_safe_in_a_table() -> None:
    assert not any("|" in cell or "\n" in cell for row in target_rows() for cell in row)
