"""A search for the recipe that keeps within goals for loss, latency and size."""

from bertedge.evaluate.latency import Workload
from bertedge.tuning.search import TuneSettings, tune
from bertedge.tuning.tuned import Tuned

__all__ = ["TuneSettings", "Tuned", "Workload", "tune"]
