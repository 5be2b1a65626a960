"""``bench``: measures candidates and their float reference in one run."""

from bertedge.benchmark.bench_settings import BenchSettings, Standard
from bertedge.benchmark.measure_all import bench
from bertedge.benchmark.models import distinct_names, float_reference, require_one_vocabulary

__all__ = ["BenchSettings", "Standard", "bench", "distinct_names", "float_reference", "require_one_vocabulary"]
