"""The golden vectors of a new bundle: outputs of float and of the bundle, and how far rounding can change them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertedge.bundle import GOLDEN
from bertedge.checkpoint import Checkpoint
from bertedge.data.batches import Layout, masked_batch
from bertedge.data.text_source import TextSource
from bertedge.encoders import names
from bertedge.engines import Executor
from bertedge.engines.engine import Arithmetic
from bertedge.engines.numpy.numpy_model import open_exact_file
from bertedge.engines.onnxruntime.executor import open_file
from bertedge.engines.plan_model import PlanModel
from bertedge.errors import CheckpointError
from bertedge.graph.builder import GraphBuilder
from bertedge.graph.encoder_graph import FIRST_NORM
from bertedge.manifest import MODELS, Agreement, GoldenFidelity
from bertedge.plan import PLAN
from bertedge.predictor import Batch
from bertedge.runtime.golden import (
    Arrays,
    Recorded,
    min_cosine,
    record,
    record_difference,
    relative_difference,
    write_golden,
)
from bertedge.runtime.row_runner import RowRunner
from bertedge.scratch import temporary_folder

EXAMPLES = 8
LENGTH = 96
SEED = 7
#: Another CPU computes floats slightly differently, and rounding to int8 can enlarge that. In each trial the weights of
#: the first layer norm change by ``NOISE``. Kernels of x86 and ARM differ by 3e-7 at the first norm, 1e-6 after blocks.
NOISE_TRIALS = 3
NOISE = 1e-6
#: Trials in numpy, which is slower.
TOKEN_TRIALS = 4
#: The last bit of a float may depend on the number of threads; the bundle must not.
THREADS = 1

Replaced = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class GoldenRecorder:
    """Records the golden vectors of one bundle.

    Attributes:
        float_model: the file of the float graph.
        all_positions, row_independent: see :class:`bertedge.engines.onnxruntime.grouping.GroupingExecutor`.
        packed: run with packed weights, as the runtime does.
    """

    checkpoint: Checkpoint
    float_model: Path
    text: TextSource
    all_positions: bool
    row_independent: bool
    packed: bool

    def write(self, folder: Path, format: str, in_numpy: GraphBuilder | None) -> GoldenFidelity:
        """Write ``golden.npz`` next to the model.

        Args:
            in_numpy: the bundle's graph, if numpy has to multiply because onnxruntime is incorrect on this CPU.

        Raises:
            CheckpointError: the bundle computes NaN or infinity.
        """
        float_model = open_file(
            self.float_model,
            self.checkpoint.config,
            parts=self.checkpoint.parts,
            threads=THREADS,
            row_independent=True,
            few_calls=True,
        )
        in_float = record(self._predictor(float_model, row_independent=True), self.batch, self.checkpoint.parts)
        with _model_file(folder / MODELS[format], in_numpy) as path:

            def outputs_of(*, packed: bool, moved: Replaced | None = None) -> Arrays:
                how: Any = {"all_positions": self.all_positions, "row_independent": self.row_independent}
                how |= {"config": self.checkpoint.config, "parts": self.checkpoint.parts, "replaced": moved}
                if in_numpy is None:
                    executor = open_file(path, threads=THREADS, few_calls=not packed, **how)
                else:
                    executor = open_exact_file(path, **how)
                predictor = self._predictor(executor, row_independent=self.row_independent)
                return record(predictor, self.batch, self.checkpoint.parts, in_float)

            outputs = outputs_of(packed=self.packed)
            trials = [outputs_of(packed=self.packed, moved=self._moved_norm(trial)) for trial in range(NOISE_TRIALS)]
            if self.packed:
                trials.append(outputs_of(packed=False))  # as on a CPU without kernels for packed weights
        recorded: dict[Arithmetic, Recorded] = {"graph": Recorded(outputs=outputs, trials=trials)}
        if (folder / PLAN).exists():
            recorded["per_token"] = self._per_token(folder, in_float)
        write_golden(folder / GOLDEN, self.batch, in_float, recorded)
        return self._fidelity(outputs, in_float)

    def _per_token(self, folder: Path, in_float: Arrays) -> Recorded:
        """The bundle with activations that are rounded token by token, in numpy."""

        def outputs_of(moved: Replaced | None = None) -> Arrays:
            predictor = self._predictor(PlanModel(folder, replaced=moved), row_independent=True)
            return record(predictor, self.batch, self.checkpoint.parts, in_float)

        trials = [outputs_of(self._moved_norm(trial)) for trial in range(TOKEN_TRIALS)]
        return Recorded(outputs=outputs_of(), trials=trials)

    def _fidelity(self, outputs: Arrays, in_float: Arrays) -> GoldenFidelity:
        difference, cosine = record_difference(outputs, in_float), min_cosine(outputs, in_float)
        if not math.isfinite(cosine) or not (difference is None or math.isfinite(difference)):
            raise CheckpointError(
                f"{self.checkpoint.name}: computes numbers that are not finite",
                "are its weights of ordinary size? some are stored in float16, up to 65504",
            )
        parts = self.checkpoint.parts
        same = {
            head.name: head.same_answers(self.batch, outputs, in_float, parts.settings_of(head.name))
            for head in parts.rows
        }
        return GoldenFidelity(
            agreement={
                name: Agreement(equal=int(equal.sum()), of=len(equal))
                for name, equal in same.items()
                if equal is not None and len(equal)
            },
            max_prob_diff=difference,
            max_score_diff=relative_difference(outputs, in_float, "scores"),
            min_cosine=cosine,
        )

    @cached_property
    def batch(self) -> Batch:
        """The inputs."""
        config = self.checkpoint.config
        length = min(LENGTH, config.max_length)
        texts = self.text.texts(EXAMPLES, max_length=length, seed=SEED)
        layout = Layout.of(self.checkpoint.tokenizer, config.vocab_size)
        return masked_batch(texts, layout, np.random.default_rng(SEED), always_mask=True)

    def _moved_norm(self, trial: int) -> Replaced:
        """The first layer norm's weights, changed by :data:`NOISE` up or down."""
        weights = self.checkpoint.tensor(f"{names.EMBEDDINGS}.LayerNorm.weight")
        signs = np.random.default_rng(trial).choice(np.array([-1, 1], dtype=np.float32), weights.shape)
        return {FIRST_NORM: weights * (1 + np.float32(NOISE) * signs)}

    def _predictor(self, executor: Executor, *, row_independent: bool) -> RowRunner:
        config = self.checkpoint.config
        return RowRunner(name="", executor=executor, config=config, row_independent=row_independent)


@contextmanager
def _model_file(path: Path, graph: GraphBuilder | None) -> Iterator[Path]:
    """The bundle's file, or a file of the graph: a file in ORT format cannot be split into its nodes."""
    if graph is None:
        yield path
        return
    with temporary_folder() as scratch:
        graph.write(scratch / MODELS["onnx"])
        yield scratch / MODELS["onnx"]
