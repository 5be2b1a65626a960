"""PyTorch: transformers' BERT, eager or compiled, in float32 or bfloat16."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from bertedge.predictor import Batch, Outputs
from peers.hugging_face import torch_model
from peers.protocol import Run, Vectors, Work, ids_of, mean_over_tokens


@dataclass(frozen=True, kw_only=True)
class PyTorch:
    """The checkpoint as it is; no file is made."""

    dtype: str
    compiled: bool = False

    def prepare(self, checkpoint: Path, calibration: Path, folder: Path, work: Work) -> list[Path]:
        return sorted(checkpoint.glob("*.safetensors")) or sorted(checkpoint.glob("*.bin"))

    def load(self, files: list[Path], work: Work, threads: int, callers: int) -> Run:
        torch.set_num_threads(threads)
        model = torch_model(files[0].parent, work).to(getattr(torch, self.dtype))
        if self.compiled:
            # layer by layer ("regional compilation"): twelve equal layers are compiled once
            for layer in (model.model if work == "words" else model).bert.encoder.layer:
                layer.compile(dynamic=True)

        def words(batch: Batch) -> Outputs:
            with torch.inference_mode():
                arrays = ids_of(batch) | {"masked_positions": batch.masked_positions}
                mlm, nsp = model(**{name: torch.from_numpy(array) for name, array in arrays.items()})
                return Outputs(logits={"mlm": mlm.float().numpy(), "nsp": nsp.float().numpy()})

        def vectors(batch: Batch) -> Vectors:
            with torch.inference_mode():
                states = model(**{name: torch.from_numpy(array) for name, array in ids_of(batch).items()})
                return mean_over_tokens(states.float().numpy(), batch)

        def labels(batch: Batch) -> Vectors:
            with torch.inference_mode():
                return model(**{name: torch.from_numpy(array) for name, array in ids_of(batch).items()}).float().numpy()

        return {"words": words, "vectors": vectors, "labels": labels}[work]
