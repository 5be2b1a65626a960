"""A search for the recipe that keeps within goals for loss, latency and size."""

from bertedge.evaluate.latency import Workload
from bertedge.tuning.result import Tuned
from bertedge.tuning.search import TuneSettings, tune

__all__ = ["TuneSettings", "Tuned", "Workload", "tune"]
