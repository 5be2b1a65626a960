"""bertedge, run through its runtime, with grouping, checks and copies."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bertedge.predictor import Batch, Row
from bertedge.runtime import load
from peers.protocol import Run, Vectors, Work


@dataclass(frozen=True, kw_only=True)
class Bertedge:
    """A bundle; one serves every kind of work that the checkpoint has a head for.

    Attributes:
        recipe: a name in ``bertedge.recipe.RECIPES``; None for float32.
        engine: a name in ``bertedge.engines.ENGINES``.
        kernel: of the native engine; empty for the best one of this CPU.
    """

    recipe: str | None
    engine: str = "onnxruntime"
    kernel: str = ""

    def prepare(self, checkpoint: Path, calibration: Path, folder: Path, work: Work) -> list[Path]:
        from bertedge.quantization import export, quantize
        from bertedge.recipe import recipe_named

        output = folder / "bundle"
        if self.recipe is None:
            bundle = export(checkpoint, output)
        else:
            bundle = quantize(checkpoint, output, recipe=recipe_named(self.recipe), calibration=calibration)
        return sorted(bundle.folder.glob(f"{bundle.model_path.name}*"))

    def load(self, files: list[Path], work: Work, threads: int, callers: int) -> Run:
        # the runtime decides how its threads call
        if self.kernel:
            os.environ["BERTEDGE_KERNEL"] = self.kernel
        runtime = load(files[0].parent, engine=self.engine, threads=threads * callers)

        def vectors(batch: Batch) -> Vectors:
            nothing = np.zeros(0, dtype=np.int64)
            rows = [
                Row(input_ids=ids[:n], token_type_ids=segments[:n], masked_positions=nothing, hidden=True)
                for ids, segments, n in zip(batch.input_ids, batch.token_type_ids, batch.lengths, strict=True)
            ]
            return np.stack(runtime.runner.run(rows, lambda found: found["hidden_states"].mean(axis=0)))

        def labels(batch: Batch) -> Vectors:
            return runtime.predict(batch).logits["sequence_classification"]

        def embedding(given: Batch | list[str]) -> Vectors:
            if isinstance(given, list):
                return runtime.encode(given)
            found = vectors(given)
            return found / np.linalg.norm(found, axis=1, keepdims=True)

        return {"words": runtime.predict, "vectors": vectors, "labels": labels, "embedding": embedding}[work]
