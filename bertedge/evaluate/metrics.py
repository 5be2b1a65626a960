"""Every fidelity metric: the metrics of the heads, and how much outputs depend on the other texts of a batch."""

from __future__ import annotations

from bertedge.heads import HEADS
from bertedge.metric import Metric

#: Metric -> how it is computed, grouped by head, in the order of the report.
METRICS: dict[str, Metric] = {name: metric for head in HEADS.values() for name, metric in head.metrics.items()}
#: Prefixes of metrics that are largest differences and have no interval: of our runtime, and of plain onnxruntime.
INVARIANCE, PADDED_FILE = "invariance.", "invariance.padded_file_"
ALONE, PADDED = "the same text alone and in a batch with others", "the same for model.onnx in plain onnxruntime, padded"
#: Metric -> which way is better, and its meaning, in the order of the report.
DESCRIPTIONS = {name: (metric.better, metric.meaning) for name, metric in METRICS.items()} | {
    f"{INVARIANCE}max_prob_diff": ("lower", ALONE),
    f"{PADDED_FILE}max_prob_diff": ("lower", PADDED),
    f"{INVARIANCE}max_vector_diff": ("lower", f"relative difference of the mean vector, {ALONE}"),
    f"{PADDED_FILE}max_vector_diff": ("lower", PADDED),
}
