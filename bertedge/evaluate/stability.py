"""How quiet the machine was during a measurement, from its clocks before and after."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bertedge.bounds import Megahertz, Ratio, Seconds
from bertedge.errors import FileError
from bertedge.evaluate.latency import LatencyReport
from bertedge.records import EDITED

#: A number beyond these limits is reported; shares are 0 to 1.
MAX_STOLEN, MAX_OTHERS, MIN_FREQUENCY_KEPT, MAX_DRIFT, MAX_SPREAD = 0.02, 0.10, 0.95, 0.10, 0.25
#: A run is busier than another if its host took this much more of the CPU time, as a share.
MAX_STOLEN_MORE = 0.05


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Clocks of the machine at one moment.

    Attributes:
        total_s: CPU seconds since the machine's start, over all CPUs.
        stolen_s: CPU seconds that the host of a virtual machine took; None if the system does not provide it.
        busy_s: CPU seconds that were used.
        own_s: CPU seconds of this process and its children.
        mhz: mean frequency of the CPUs; None if the system does not provide it.
    """

    total_s: float
    stolen_s: float | None
    busy_s: float
    own_s: float
    mhz: float | None
    at: float

    @classmethod
    def now(cls) -> Snapshot:
        """Read the clocks."""
        import psutil

        times = psutil.cpu_times()._asdict()
        total = sum(
            seconds for name, seconds in times.items() if "guest" not in name
        )  # guest time is part of "user" too
        stolen = times.get("steal")
        frequency = psutil.cpu_freq()
        return cls(
            total_s=total,
            stolen_s=stolen,
            busy_s=total - (stolen or 0.0) - times["idle"] - times.get("iowait", 0.0),
            own_s=sum(os.times()[:4]),
            mhz=frequency.current if frequency else None,
            at=time.monotonic(),
        )


@dataclass(frozen=True, kw_only=True)
class Stability:
    """The state of the machine while latency was measured. Values that the system does not provide are None.

    Attributes:
        seconds: how long latency was measured.
        stolen: share of the CPU time that the host of a virtual machine took.
        others: share of the CPU time that other processes used.
        mhz_before, mhz_after: mean frequency of the CPUs.
        drift: the reference's time in the last third of the rounds over its time in the first third, of the workload
            where the two differ most.
        spread: interquartile range of the reference's rounds over their median, of the workload where it is largest.
    """

    seconds: Seconds
    stolen: Ratio | None
    others: Ratio | None
    mhz_before: Megahertz | None
    mhz_after: Megahertz | None
    drift: Ratio | None
    spread: Ratio | None

    def __post_init__(self) -> None:
        if self.drift is not None and not self.drift > 0:
            raise FileError(f"stability: drift is {self.drift}", EDITED)

    def busier_than(self, other: Stability) -> str:
        """Why times of this run can be longer than those of another run, in words; empty if it was not busier."""
        for mine, its, limit, words in (
            (self.others, other.others, MAX_OTHERS, "other processes used"),
            (self.stolen, other.stolen, MAX_STOLEN_MORE, "the host took"),
        ):
            if mine is not None and its is not None and mine - its > limit:
                return f"{words} {100 * mine:.0f} % of the CPU time now and {100 * its:.0f} % in the baseline's run"
        return ""

    @property
    def notes(self) -> list[str]:
        """The disturbances of the times, in words; empty on a quiet machine."""
        notes = []
        if self.stolen is not None and self.stolen > MAX_STOLEN:
            notes.append(f"the host took {100 * self.stolen:.0f} % of the CPU time away (steal)")
        if self.others is not None and self.others > MAX_OTHERS:
            notes.append(f"other processes used {100 * self.others:.0f} % of the CPU time")
        before, after = self.mhz_before, self.mhz_after
        if before and after and not MIN_FREQUENCY_KEPT < after / before < 1 / MIN_FREQUENCY_KEPT:
            notes.append(f"the CPUs went from {before:.0f} to {after:.0f} MHz")
        if self.drift is not None and abs(math.log(self.drift)) > math.log(1 + MAX_DRIFT):
            notes.append(f"the reference took {self.drift:.2f} times as long at the end as at the start")
        if self.spread is not None and self.spread > MAX_SPREAD:
            notes.append(f"the middle half of the reference's rounds spans {100 * self.spread:.0f} % of their median")
        return notes


def stability(before: Snapshot, after: Snapshot, reference: Sequence[LatencyReport]) -> Stability:
    """The load between two snapshots, and how the reference's times changed."""
    samples = [np.array(entry.samples_ms) for entry in reference if len(entry.samples_ms) >= 3]
    passed = max(after.total_s - before.total_s, 1e-9)
    others = after.busy_s - before.busy_s - (after.own_s - before.own_s)
    return Stability(
        seconds=after.at - before.at,
        stolen=None if after.stolen_s is None else (after.stolen_s - (before.stolen_s or 0.0)) / passed,
        others=max(0.0, others) / passed,
        mhz_before=before.mhz,
        mhz_after=after.mhz,
        drift=max(map(_drift, samples), key=lambda ratio: abs(math.log(ratio)), default=None),
        spread=max(map(_spread, samples), default=None),
    )


def _drift(samples: NDArray[np.float64]) -> float:
    third = len(samples) // 3
    return float(np.median(samples[-third:]) / np.median(samples[:third]))


def _spread(samples: NDArray[np.float64]) -> float:
    low, middle, high = np.quantile(samples, [0.25, 0.5, 0.75])
    return float((high - low) / middle)
