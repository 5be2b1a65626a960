"""Budgets in a TOML file."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from bertedge.errors import FileError, UsageError, nearest
from bertedge.files import read_text
from bertedge.report.budget import DEFAULTS, JUDGED, Budget, Budgets

LIMITS = tuple(field.name for field in fields(Budget) if field.name != "metric")
EXAMPLE = 'for instance: "mlm.top1_agreement" = { max_drop = 0.01 }'


def read_budgets(path: Path) -> Budgets:
    """The defaults, changed by a TOML file: ``metric = { max_ratio = 1.1 }``, or ``metric = false`` for no budget.

    Raises:
        FileError: the file cannot be read, or is not TOML.
        UsageError: a metric is unknown, or a limit is not valid for its metric.
    """
    try:
        raw = tomllib.loads(read_text(path))
    except OSError as error:
        raise FileError(f"{path}: cannot be read ({error.strerror})", "check the path and its permissions") from error
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path}: is not TOML ({error})", EXAMPLE) from error
    budgets = dict(DEFAULTS)
    seen: set[str] = set()
    for metric, limits in _flat(raw):
        if metric in seen:
            raise UsageError(f"{path}: {metric} is set twice", "TOML can write a name in two ways; keep one")
        seen.add(metric)
        if metric not in JUDGED:
            raise UsageError(f"{path}: no metric is called {metric!r}", nearest(metric, JUDGED))
        if limits is False:
            budgets.pop(metric, None)
            continue
        budgets[metric] = _budget(path, metric, limits)
    if not budgets:
        raise UsageError(f"{path}: every budget is switched off", "leave at least one metric out of the file")
    return budgets


def _flat(raw: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Metrics of nested tables: ``[mlm.top1_agreement]`` and ``["mlm.top1_agreement"]`` are the same metric."""
    rows = []
    for key, value in raw.items():
        name = f"{prefix}{key}"
        inner = isinstance(value, dict) and value and name not in JUDGED and not set(value) & set(LIMITS)
        rows += _flat(value, f"{name}.") if inner else [(name, value)]
    return rows


def _budget(path: Path, metric: str, limits: Any) -> Budget:
    if not isinstance(limits, dict):
        raise UsageError(f"{path}: {metric} is {limits!r}, expected a table or false", EXAMPLE)
    for name, value in limits.items():
        if name not in LIMITS:
            raise UsageError(f"{path}: {metric} has no limit called {name!r}", nearest(name, LIMITS))
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UsageError(f"{path}: {metric}.{name} is {value!r}, expected a number", EXAMPLE)
    numbers = {name: _float(value) for name, value in limits.items()}
    default = DEFAULTS.get(metric)
    if "apart" in numbers and default and default.max_ratio:
        numbers = {"max_ratio": default.max_ratio, **numbers}
    try:
        return Budget(metric=metric, **numbers)
    except UsageError as error:
        raise UsageError(f"{path}: {error.message}", error.hint) from error


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # integers in TOML have any size
        return math.inf
