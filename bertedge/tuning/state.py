"""What a search has found out so far, on the disk after every candidate."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from bertedge.errors import FileError, UsageError
from bertedge.evaluate.goals import P95, SIZE
from bertedge.manifest import Coverage
from bertedge.metric import MetricValue
from bertedge.quantization.sensitivity import Sensitivity
from bertedge.recipe import QuantizationRecipe
from bertedge.records import from_json, read_json, to_json, write_json
from bertedge.scratch import settle_inside

SCHEMA_VERSION = 1
STATE, CANDIDATES, BEST, PARETO, PICTURE = "state.json", "candidates", "best", "pareto.json", "pareto.svg"
BYTES_OF_MB = 1e6
#: The median call over that of the first model in float32, which was timed in turn with it.
RATIO = "latency.ratio_to_float"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What every measurement of a search depends on.

    Attributes:
        models: name and hash of the weights of each.
        corpus_sha256: of the text that losses are measured on; None for a part of the calibration text.
        threads: the numbers of threads that are tried.
        machine: CPU and versions.
    """

    models: tuple[str, ...]
    target: str
    exclude: tuple[str, ...]
    calibration_sha256: str
    corpus_sha256: str | None
    examples: int
    seed: int
    batch_size: int
    length: int
    threads: tuple[int, ...]
    machine: str


@dataclass(frozen=True, kw_only=True)
class Timed:
    """Latency with one number of threads.

    Attributes:
        ratio: to the float model of the first checkpoint, timed in turn with it.
        samples_ms: of each round, for candidates that were timed against each other: the same place in another one's
            samples was measured next to it. Empty for first impressions, which are made one by one.
    """

    threads: int
    p50_ms: float
    p95_ms: float
    calls: int
    ratio: MetricValue
    samples_ms: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A candidate that was made and measured.

    Attributes:
        folder: the name of its bundle's folder.
        fidelity: metrics against its own float model; hits against those of the first checkpoint's.
        latency: for each number of threads, the fastest first.
        session: which run of the search measured it: times of two runs cannot be compared.
    """

    model: int
    name: str
    stage: int
    recipe: QuantizationRecipe
    folder: str
    sha256: str
    size_bytes: int
    coverage: Coverage
    fidelity: dict[str, MetricValue]
    latency: tuple[Timed, ...]
    session: int

    def flaw(self) -> str | None:
        """What is wrong with it in a file, in words."""
        if Path(self.folder).name != self.folder:
            return f"{self.folder!r} is not the name of a folder"
        return None if self.latency else "no latency"

    @property
    def measured(self) -> dict[str, MetricValue]:
        """Everything that goals can be for."""
        fastest, size = self.latency[0], self.size_bytes / BYTES_OF_MB
        return {
            **self.fidelity,
            P95: MetricValue(value=fastest.p95_ms, low=fastest.p95_ms, high=fastest.p95_ms, n=fastest.calls),
            RATIO: fastest.ratio,
            SIZE: MetricValue(value=size, low=size, high=size, n=1),
        }


@dataclass(frozen=True, kw_only=True)
class Twin:
    """A candidate whose file came out as another one's, which was measured already."""

    model: int
    recipe: QuantizationRecipe
    sha256: str


@dataclass(frozen=True, kw_only=True)
class LayerStudy:
    """The sensitivity of one model's layers by one recipe."""

    model: int
    recipe: QuantizationRecipe
    sensitivity: Sensitivity


@dataclass(frozen=True, kw_only=True)
class State:
    """``state.json``.

    Attributes:
        sessions: how many times the search was begun or gone on with.
        floats: model -> metrics of its float32 graph, hits against the first one's.
    """

    schema_version: int
    settings: Settings
    sessions: int = 1
    entries: tuple[Entry, ...] = ()
    twins: tuple[Twin, ...] = ()
    studies: tuple[LayerStudy, ...] = ()
    floats: dict[str, dict[str, MetricValue]]

    def find(self, model: int, recipe: QuantizationRecipe) -> Entry | None:
        """The entry of a candidate, or of one whose file is the same."""
        for entry in self.entries:
            if (entry.model, entry.recipe) == (model, recipe):
                return entry
        same = {twin.sha256 for twin in self.twins if (twin.model, twin.recipe) == (model, recipe)}
        return next((entry for entry in self.entries if entry.model == model and entry.sha256 in same), None)

    def study(self, model: int, recipe: QuantizationRecipe) -> Sensitivity | None:
        """The sensitivity that was measured for a recipe."""
        found = (s.sensitivity for s in self.studies if (s.model, s.recipe) == (model, recipe))
        return next(found, None)


def open_state(folder: Path, settings: Settings, *, force: bool) -> State:
    """Begin a search in a folder, or go on with the one that is there.

    Raises:
        FileError: there is something else in it, or the state cannot be read.
        UsageError: it is a search with other settings.
    """
    settle_inside(folder)
    settle_inside(folder / CANDIDATES)
    path, fresh = folder / STATE, State(schema_version=SCHEMA_VERSION, settings=settings, floats={})
    if not path.is_file():
        if folder.exists() and not folder.is_dir():
            raise FileError(f"{folder}: is a file", "choose another name for --output")
        if folder.is_dir() and any(folder.iterdir()):
            raise FileError(f"{folder}: is not empty, and holds no search", "choose another name for --output")
        return fresh
    if force:
        clear(folder)
        return fresh
    state = _read(path)
    if not state.entries:  # nothing was measured, perhaps because of the very options that are given otherwise now
        return fresh
    if state.settings != settings:
        name, was, now = _first_difference(state.settings, settings)
        raise UsageError(
            f"{folder}: holds a search with {name} {was}, not {now}",
            "give the same settings to go on with it, another --output, or --force to begin again",
        )
    return replace(state, sessions=state.sessions + 1)


def clear(folder: Path) -> None:
    """Remove what a search wrote, and nothing else."""
    for name in (CANDIDATES, BEST):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in (PARETO, PICTURE, STATE):
        (folder / name).unlink(missing_ok=True)


def save(folder: Path, state: State) -> None:
    """Write the state, whole or not at all."""
    write_json(folder / STATE, state)


def _read(path: Path) -> State:
    raw = read_json(path)
    version = raw.get("schema_version") if isinstance(raw, dict) else None
    if version != SCHEMA_VERSION:
        raise FileError(
            f"{path}: schema_version is {version}, this bertedge reads {SCHEMA_VERSION}", "begin again with --force"
        )
    return from_json(State, raw, path.name)


def _first_difference(one: Settings, other: Settings) -> tuple[str, Any, Any]:
    for f in fields(Settings):
        was, now = (to_json(getattr(settings, f.name)) for settings in (one, other))
        if was != now:
            return f.name, was, now
    raise AssertionError("the settings are equal")
