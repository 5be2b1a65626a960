"""sentence-transformers, in PyTorch or with its own ONNX int8 backend."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer

from bertedge.predictor import Batch
from peers.protocol import Run, Vectors, Work, ids_of

#: The presets are named by instruction set; the file is named after the preset.
PRESET = "avx512_vnni"
INT8 = f"onnx/model_qint8_{PRESET}.onnx"


@dataclass(frozen=True, kw_only=True)
class SentenceTransformers:
    """A folder of the library.

    Attributes:
        quantized: exported to ONNX and quantized dynamically by the library itself.
    """

    quantized: bool = False

    def prepare(self, checkpoint: Path, calibration: Path, folder: Path, work: Work) -> list[Path]:
        if not self.quantized:
            return sorted(checkpoint.glob("*.safetensors"))
        from sentence_transformers import export_dynamic_quantized_onnx_model

        model = SentenceTransformer(str(checkpoint), backend="onnx", model_kwargs={"export": True})
        model.save_pretrained(str(folder))
        export_dynamic_quantized_onnx_model(model, PRESET, str(folder))
        return [folder / INT8]

    def load(self, files: list[Path], work: Work, threads: int, callers: int) -> Run:
        torch.set_num_threads(threads)
        if self.quantized:
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = threads
            how = {"file_name": INT8, "session_options": options, "provider": "CPUExecutionProvider"}
            model = SentenceTransformer(str(files[0].parents[1]), backend="onnx", model_kwargs=how)
        else:
            model = SentenceTransformer(str(files[0].parent), device="cpu")
        model.eval()

        def embedding(given: Batch | list[str]) -> Vectors:
            if isinstance(given, list):
                return model.encode(given)
            with torch.inference_mode():
                ids = {name: torch.from_numpy(array) for name, array in ids_of(given).items()}
                return model(ids)["sentence_embedding"].numpy()

        return embedding
