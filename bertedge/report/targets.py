"""Tables of the targets: which kernels run on each, and on which CPUs its bundles are correct."""

from __future__ import annotations

from bertedge.target import PORTABLE, TARGETS, Fit, TargetProfile, fit

Rows = list[list[str]]
#: Columns that a terminal has room for; Markdown shows all.
NARROW = ("target", "CPUs", "what runs", "weights", "onnxruntime", "why")
THREADS = {"cpu": "one a CPU", "core": "one a core"}


def target_rows(columns: tuple[str, ...] | None = None) -> Rows:
    """A row for each target; the first row is the header.

    Args:
        columns: the columns to show; default: all.
    """
    cells = [_cells(row) for row in TARGETS.values()]
    shown = columns or tuple(cells[0])
    return [list(shown), *([row[column] for column in shown] for row in cells)]


def fit_rows() -> Rows:
    """How a bundle (row) fits a CPU (column)."""
    here = [row for row in TARGETS.values() if row.name != PORTABLE]
    unknown = TARGETS[PORTABLE]
    head = ["bundle for", *(f"on {row.name}" for row in here), "on an unknown CPU"]
    return [head, *([target.name, *(_fit(target, row) for row in (*here, unknown))] for target in TARGETS.values())]


def markdown() -> str:
    """Both tables."""
    return f"{_table(target_rows())}\n{_table(fit_rows())}"


def _cells(row: TargetProfile) -> dict[str, str]:
    return {
        "target": row.name,
        "CPUs": row.cpus,
        "what runs": row.kernel,
        "weights": str(row.weight_range),
        "why": row.reason,
        "avoid": row.avoid,
        "threads": THREADS[row.threads],
        "onnxruntime": f"{row.min_onnxruntime}+",
        "in minimal builds": "yes" if row.in_minimal_build else "no",
    }


def _fit(target: TargetProfile, here: TargetProfile) -> str:
    found = fit(target, here)
    return f"{found}, warns" if found is Fit.less_accurate and target.name != PORTABLE else str(found)


def _table(rows: Rows) -> str:
    head, *body = rows
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, ["---"] * len(head), *body))
