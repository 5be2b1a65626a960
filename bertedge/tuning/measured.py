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
#: The most characters of a candidate's name in its folder's name; file systems allow 255 in all.
LONGEST_NAME = 100
#: The median time of a call, divided by that of the first float model, which is timed in turn with the candidate.
RATIO = "latency.ratio_to_float"


@dataclass(frozen=True, kw_only=True)
class Timed:
    """Latency with one number of threads.

    Attributes:
        ratio: to the float model of the first checkpoint, timed in turn with it.
        samples_ms: a time for each round, for candidates that were timed together. Equal indices are the same round.
            Empty for candidates that were timed alone.
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
        fidelity: metrics against its own float model; hits are compared with those of the first model.
        latency: times for each number of threads, the fastest first.
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
        """What is wrong with the values, in words; None if they are valid."""
        return None if self.latency else "no latency"

    @property
    def measured(self) -> dict[str, MetricValue]:
        """All metrics that can have goals."""
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

    The hash is of the recipe and of everything that measurements depend on. So a search reuses the results of an
    earlier search with the same settings, and never results of other settings.
    """

    folder: Path
    conditions: Mapping[str, Any]

    def name(self, candidate: Candidate) -> str:
        """The name of a candidate's folder."""
        made_of = json.dumps([self.conditions, candidate.model, to_json(candidate.recipe)], sort_keys=True)
        plain = re.sub(r"[^a-z0-9.=_-]+", "-", candidate.name.lower()).strip("-.")[:LONGEST_NAME]
        return f"{plain}-{hashlib.sha256(made_of.encode()).hexdigest()[:8]}".lstrip("-")

    def read(self, candidate: Candidate) -> Entry | None:
        """The results of a candidate; None if there are none, or if its bundle was removed or replaced."""
        name = self.name(candidate)
        with suppress(FileError, BundleError):
            entry = from_json(Entry, read_json(self.folder / f"{name}.json"), name)
            if (entry.recipe, entry.sha256) == (candidate.recipe, Bundle.open(self.folder / name).model_sha256):
                return replace(entry, model=candidate.model, name=candidate.name, stage=candidate.stage, folder=name)
        return None

    def write(self, entry: Entry) -> None:
        """Write the results of a candidate."""
        write_json(self.folder / f"{entry.folder}.json", entry)

    def sensitivity(self, entry: Entry, measure: Callable[[], Sensitivity]) -> Sensitivity:
        """The loss of each layer of a candidate: read from the disk, or else measured."""
        file = self.folder / f"{entry.folder}.sensitivity.json"
        with suppress(FileError):
            return from_json(Sensitivity, read_json(file), file.name)
        found = measure()
        write_json(file, found)
        return found
