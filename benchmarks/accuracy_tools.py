"""Measure each accuracy tool of the static method alone and all together, also on a model with outliers.

    python benchmarks/accuracy_tools.py MODEL CORPUS [--examples 250]

MODEL is a checkpoint folder or a built-in name. Every row is a real bundle for this machine, compared with float on the
same pairs. The outlier model is the same model with outliers in every layer's input (outlier_model.py). Prints
Markdown. Install with ``pip install 'bertedge[tools]'``.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from measuring import METRICS, Sample, arguments, show
from outlier_model import with_outliers

from bertedge.checkpoint import Checkpoint, open_checkpoint
from bertedge.evaluate.fidelity import measure_fidelity
from bertedge.quantization import export, quantize
from bertedge.recipe import QuantizationRecipe
from bertedge.runtime import load

NONE: dict[str, Any] = {"smoothing": False, "float_outliers": False, "rounding": "nearest", "bias_correction": False}
OPTIONS: dict[str, dict[str, Any]] = {
    "none of the tools": NONE,
    "smoothing": NONE | {"smoothing": True},
    "float outliers": NONE | {"float_outliers": True},
    "compensated rounding": NONE | {"rounding": "compensated"},
    "weight scales by squared error": NONE | {"weight_scales": "mse"},
    "bias correction": NONE | {"bias_correction": True},
    "the default recipe": {},
    "default without bias correction": {"bias_correction": False},
    "default with nearest rounding": {"rounding": "nearest"},
    "the same without bias correction": {"rounding": "nearest", "bias_correction": False},
    "the same + weight scales by squared error": {"rounding": "nearest", "weight_scales": "mse"},
    "all of the tools": {"weight_scales": "mse"},
    "default, observer mse": {"observer": "mse"},
    "default, observer percentile 99.99": {"observer": "percentile"},
    "default, observer percentile 99.9": {"observer": "percentile", "percentile": 99.9},
    "default, 256 calibration texts": {"examples": 256},
}
OUTLIER_ROWS = ("none of the tools", "smoothing", "float outliers", "the default recipe")


def main() -> None:
    """Print the table of one model."""
    options = arguments(__doc__, examples=250).parse_args()
    checkpoint = open_checkpoint(options.model)
    rows: dict[str, tuple[Checkpoint, QuantizationRecipe]] = {
        name: (checkpoint, QuantizationRecipe().changed(**changes)) for name, changes in OPTIONS.items()
    }
    with_outlier_channels = with_outliers(checkpoint)
    rows |= {
        f"outlier model, {name}": (with_outlier_channels, QuantizationRecipe().changed(**OPTIONS[name]))
        for name in OUTLIER_ROWS
    }
    batches = Sample.of(checkpoint, options.corpus, options.examples).batches
    print(f"### {checkpoint.name}\n\n| | " + " | ".join(METRICS) + " |\n| --- |" + " --- |" * len(METRICS))
    with tempfile.TemporaryDirectory() as scratch:
        reference = load(export(checkpoint, Path(scratch) / "float").folder)
        for index, (name, (model, recipe)) in enumerate(rows.items()):
            bundle = quantize(model, Path(scratch) / str(index), recipe=recipe)
            (values,) = measure_fidelity(reference, [load(bundle.folder)], batches)
            print(f"| {name} | " + " | ".join(show(values[metric]) for metric in METRICS) + " |", flush=True)
    print()


if __name__ == "__main__":
    main()
