"""Quantize a Hugging Face BERT folder to ONNX int8 with Optimum, the peer that bertedge is compared with.

    python benchmarks/peers/optimum_int8.py CHECKPOINT OUT_FOLDER [--optimize LEVEL]

It takes the route of Optimum's documentation: export the masked-LM model, then quantize it dynamically with the
AVX512-VNNI preset, weights per channel. OUT_FOLDER gets ``model_quantized.onnx``, the configuration and the tokenizer
files; stdout gets one JSON line with the path, the size, the seconds, the peak memory and the versions.

Install with ``pip install 'bertedge[compare]'``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from onnxruntime.quantization import quant_pre_process
from optimum.onnxruntime import ORTModelForMaskedLM, ORTOptimizer, ORTQuantizer
from optimum.onnxruntime.configuration import AutoQuantizationConfig, OptimizationConfig

PACKAGES = ("optimum-onnx", "optimum", "onnxruntime", "onnx", "transformers", "torch", "numpy")


def main(arguments: Sequence[str] | None = None) -> int:
    """Quantize one checkpoint and print the report."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if not (options.checkpoint / "config.json").is_file():
        parser.error(f"{options.checkpoint} holds no config.json: give the folder of a Hugging Face checkpoint")
    print(json.dumps(quantize_checkpoint(options.checkpoint, options.out_folder, options.optimize)))
    return 0


def quantize_checkpoint(checkpoint: Path, out_folder: Path, level: int | None = None) -> dict[str, Any]:
    """Export, optionally optimize, and quantize; return the report that the command prints.

    Args:
        level: ONNX Runtime's graph optimization level for the step between export and quantization; None skips it.
    """
    started = time.perf_counter()
    # The exported file lives in a temporary folder that belongs to this object: keep it until quantization is done.
    exported = ORTModelForMaskedLM.from_pretrained(checkpoint, export=True)
    export_s = time.perf_counter() - started

    started = time.perf_counter()
    with _optimized(exported, level) as source:
        config = AutoQuantizationConfig.avx512_vnni(is_static=False, per_channel=True)
        ORTQuantizer.from_pretrained(source).quantize(quantization_config=config, save_dir=out_folder)
    quantize_s = time.perf_counter() - started

    model = out_folder / "model_quantized.onnx"
    return {
        "model": str(model),
        "size_bytes": model.stat().st_size,
        "export_s": round(export_s, 3),
        "quantize_s": round(quantize_s, 3),
        "peak_rss_bytes": _peak_rss_bytes(),
        "versions": {package: version(package) for package in PACKAGES},
    }


@contextlib.contextmanager
def _optimized(exported: ORTModelForMaskedLM, level: int | None) -> Iterator[ORTModelForMaskedLM | Path]:
    """What to quantize: the exported model itself, or a folder with its optimized form."""
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
    quant_pre_process(model, model, skip_optimization=True, auto_merge=True)


def _peak_rss_bytes() -> int:
    """The most memory this process held so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts KiB


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Quantize a Hugging Face BERT folder to ONNX int8 with Optimum.")
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="folder of a Hugging Face checkpoint")
    parser.add_argument("out_folder", type=Path, metavar="OUT_FOLDER", help="folder for model_quantized.onnx")
    parser.add_argument(
        "--optimize",
        type=int,
        choices=(0, 1, 2, 99),
        metavar="LEVEL",
        help="fuse the graph first, at this ONNX Runtime level (0, 1, 2 or 99); left out: no fusion, as exported",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
