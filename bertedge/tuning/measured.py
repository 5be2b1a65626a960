"""A candidate that was made and measured, and its record on the disk next to its bundle."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bertedge.bundle import Bundle
from bertedge.errors import BundleError, FileError
from bertedge.evaluate.goals import P95, SIZE
from bertedge.manifest import Coverage
from bertedge.metric import MetricValue
from bertedge.quantization.sensitivity import Sensitivity
from bertedge.recipe import QuantizationRecipe
from bertedge.records import from_json, read_json, to_json, write_json
from bertedge.tuning.candidates import Candidate

BYTES_OF_MB = 1e6
#: Characters of a candidate's name in that of its folder; file systems take 255 in all.
LONGEST_NAME = 100
#: The median call, divided by that of the first model in float32, which was timed in turn with it.
RATIO = "latency.ratio_to_float"


@dataclass(frozen=True, kw_only=True)
class Timed:
    """Latency with one number of threads.

    Attributes:
        ratio: to the float model of the first checkpoint, timed in turn with it.
        samples_ms: a number for each round, of candidates that were timed against each other; rounds of the same index
            were timed next to each other. Empty for candidates that were timed alone.
    """

    threads: int
    p50_ms: float
    p95_ms: float
    calls: int
    ratio: MetricValue
    samples_ms: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A measured candidate.

    Attributes:
        folder: the name of its bundle's folder.
        fidelity: metrics against its own float model; hits against those of the first model.
        latency: for each number of threads, the fastest first.
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

    def flaw(self) -> str | None:
        """What is wrong with it in a file, in words."""
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


@dataclass(frozen=True)
class Records:
    """The bundles and records of a search: ``NAME-HASH/``, ``NAME-HASH.json`` and ``NAME-HASH.sensitivity.json``.

    The hash is of the recipe and of everything that measurements depend on. So a search finds what an earlier one
    measured, and searches with other settings do not meet.
    """

    folder: Path
    conditions: Mapping[str, Any]

    def name(self, candidate: Candidate) -> str:
        """The name of a candidate's folder."""
        made_of = json.dumps([self.conditions, candidate.model, to_json(candidate.recipe)], sort_keys=True)
        plain = re.sub(r"[^a-z0-9.=_-]+", "-", candidate.name.lower()).strip("-.")[:LONGEST_NAME]
        return f"{plain}-{hashlib.sha256(made_of.encode()).hexdigest()[:8]}".lstrip("-")

    def read(self, candidate: Candidate) -> Entry | None:
        """What was measured of a candidate; None if nothing was, or if its bundle is gone or was replaced."""
        name = self.name(candidate)
        with suppress(FileError, BundleError):
            entry = from_json(Entry, read_json(self.folder / f"{name}.json"), name)
            if (entry.recipe, entry.sha256) == (candidate.recipe, Bundle.open(self.folder / name).model_sha256):
                return replace(entry, model=candidate.model, name=candidate.name, stage=candidate.stage, folder=name)
        return None

    def write(self, entry: Entry) -> None:
        """Write what was measured of a candidate."""
        write_json(self.folder / f"{entry.folder}.json", entry)

    def sensitivity(self, entry: Entry, measure: Callable[[], Sensitivity]) -> Sensitivity:
        """What each layer of a candidate loses, measured if it is not on the disk."""
        file = self.folder / f"{entry.folder}.sensitivity.json"
        with suppress(FileError):
            return from_json(Sensitivity, read_json(file), file.name)
        found = measure()
        write_json(file, found)
        return found
