"""Optimum: export to ONNX and dynamic int8 by its documentation, run as plain onnxruntime sessions."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from bertedge.predictor import Batch, Outputs
from peers.protocol import Run, Vectors, Work, at_masked_positions, ids_of, mean_over_tokens

ERRORS_ONLY = 3


@dataclass(frozen=True, kw_only=True)
class Optimum:
    """An exported model.

    Attributes:
        quantized: dynamically, weights per channel, with the AVX512-VNNI preset.
        level: ONNX Runtime's graph optimization level for a step between export and quantization; None skips it.
    """

    quantized: bool = True
    level: int | None = None

    def prepare(self, checkpoint: Path, calibration: Path, folder: Path, work: Work) -> list[Path]:
        from optimum.onnxruntime import (
            ORTModelForFeatureExtraction,
            ORTModelForMaskedLM,
            ORTModelForSequenceClassification,
            ORTQuantizer,
        )
        from optimum.onnxruntime.configuration import AutoQuantizationConfig

        kind = {
            "words": ORTModelForMaskedLM,
            "vectors": ORTModelForFeatureExtraction,
            "embedding": ORTModelForFeatureExtraction,
            "labels": ORTModelForSequenceClassification,
        }[work]
        # The exported file lives in a temporary folder that belongs to this object: keep it until the end.
        exported = kind.from_pretrained(checkpoint, export=True)
        if self.quantized:
            with _optimized(exported, self.level) as source:
                config = AutoQuantizationConfig.avx512_vnni(is_static=False, per_channel=True)
                ORTQuantizer.from_pretrained(source).quantize(quantization_config=config, save_dir=folder)
        else:
            exported.save_pretrained(folder)
        return sorted(folder.glob("*.onnx")) + sorted(folder.glob("*.onnx_data"))

    def load(self, files: list[Path], work: Work, threads: int, callers: int) -> Run:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = ERRORS_ONLY
        session = ort.InferenceSession(str(files[0]), options, providers=["CPUExecutionProvider"])
        wanted = {value.name for value in session.get_inputs()}

        def first_output(batch: Batch) -> Any:
            return session.run(None, {name: array for name, array in ids_of(batch).items() if name in wanted})[0]

        def words(batch: Batch) -> Outputs:
            return Outputs(logits={"mlm": at_masked_positions(first_output(batch), batch)})

        def vectors(batch: Batch) -> Vectors:
            return mean_over_tokens(first_output(batch), batch)

        def embedding(batch: Batch) -> Vectors:
            found = vectors(batch)
            return found / np.linalg.norm(found, axis=1, keepdims=True)

        return {"words": words, "vectors": vectors, "labels": first_output, "embedding": embedding}[work]


@contextlib.contextmanager
def _optimized(exported: Any, level: int | None) -> Iterator[Any]:
    """What to quantize: the exported model itself, or a folder with its optimized form."""
    from optimum.onnxruntime import ORTOptimizer
    from optimum.onnxruntime.configuration import OptimizationConfig

    if level is None:
        yield exported
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # Without a suffix the file keeps the name model.onnx, so both routes end in the same file name.
        config = OptimizationConfig(optimization_level=level)
        ORTOptimizer.from_pretrained(exported).optimize(config, save_dir=folder, file_suffix="")
        _annotate_types(folder / "model.onnx")
        yield folder


def _annotate_types(model: Path) -> None:
    """Write the type of every tensor into the optimized file.

    The quantizer stops at the first tensor of unknown type, and ONNX's own inference knows none of the fused operators
    (https://github.com/huggingface/optimum/pull/1959). ONNX Runtime's does, once it may merge symbolic dimensions.
    """
    from onnxruntime.quantization import quant_pre_process

    quant_pre_process(model, model, skip_optimization=True, auto_merge=True)
