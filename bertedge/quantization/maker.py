"""Fills the folder of one bundle: graph, file, golden vectors, manifest."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

import bertedge
from bertedge.bundle import CONFIG, RANGES
from bertedge.checkpoint import Checkpoint
from bertedge.checkpoint.embedder_writer import write_embedder, write_vector_weights
from bertedge.checkpoint.write import described
from bertedge.data.calibration import default_text
from bertedge.data.text_files import text_sha256
from bertedge.data.text_source import TextSource, read_text
from bertedge.encoders import write_config
from bertedge.engines.onnxruntime import versions
from bertedge.engines.onnxruntime.cpu_check import is_correct_here
from bertedge.graph.encoder_graph import build_graph
from bertedge.graph.inspect import bytes_by_part, coverage
from bertedge.graph.writer import EncoderGraph, Positions
from bertedge.manifest import (
    SCHEMA_VERSION,
    GoldenFidelity,
    Manifest,
    Provenance,
    ReachedGoal,
    file_entries,
    write_manifest,
)
from bertedge.plan import write_plan
from bertedge.progress import Listener
from bertedge.quantization.float_model import FloatModel
from bertedge.quantization.golden_vectors import GoldenRecorder
from bertedge.quantization.job import Decision, Job
from bertedge.quantization.methods import decider_of
from bertedge.quantization.model_files import format_named
from bertedge.quantization.ranges import read_ranges, write_ranges
from bertedge.quantization.result_cache import Cache
from bertedge.recipe import QuantizationRecipe
from bertedge.records import write_json
from bertedge.target import MIN_ONNXRUNTIME, TargetProfile


@dataclass
class Maker:
    """Fills the folder of one bundle.

    Attributes:
        calibration: a file; None for the built-in text.
        columns: the columns of the file that hold texts; see :func:`bertedge.data.examples.read_examples`.
    """

    checkpoint: Checkpoint
    float_model: FloatModel
    folder: Path
    positions: Positions
    format: str
    listen: Listener
    calibration: str | Path | None = None
    columns: Sequence[str] = ()

    def __post_init__(self) -> None:
        model = self.checkpoint
        self.text: TextSource = read_text(
            self.calibration, model.tokenizer, model.parts, vocab_size=model.config.vocab_size, columns=self.columns
        )

    def job(self, recipe: QuantizationRecipe, target: TargetProfile, ranges: str | Path | None, cache: Cache) -> Job:
        """The input of the recipe's method."""
        return Job(
            checkpoint=self.checkpoint,
            float_model=self.float_model,
            recipe=recipe,
            target=target,
            text=self.text.hold_out(recipe.held_out)[0] if recipe.held_out else self.text,
            positions=self.positions,
            ranges=read_ranges(Path(ranges)) if ranges else None,
            model_sha256=self.checkpoint.model_sha256,
            calibration_sha256=self.calibration_sha256,
            listen=self.listen,
            cache=cache,
        )

    def make(
        self,
        decision: Decision,
        *,
        recipe: QuantizationRecipe | None,
        target: TargetProfile,
        reasons: dict[str, str] | None = None,
        goals: dict[str, ReachedGoal] | None = None,
    ) -> None:
        """Write every file.

        Args:
            recipe: None for float32.
            reasons: layer -> the reason why it is not in its method's plain format.
        """
        self.listen(0.1, "building the graph")
        graph = build_graph(self.checkpoint, decision.plan, positions=self.positions, roundings=decision.roundings)
        places = format_named(self.format).write(graph.builder, self.folder)
        if places:
            write_plan(self.folder, graph.stored(self.checkpoint, decision.plan, places))
        self.checkpoint.tokenizer.save(self.folder)
        write_json(self.folder / CONFIG, described(self.checkpoint.config, self.checkpoint.parts))
        self._vector_settings()
        if decision.ranges is not None:
            write_ranges(self.folder / RANGES, decision.ranges)
        self.listen(0.6, "recording golden vectors")
        fidelity = self._golden_vectors(graph, recipe, target)
        manifest = self._manifest(graph, decision, recipe, target, fidelity)
        write_manifest(self.folder, replace(manifest, layer_reasons=reasons or {}, goals=goals or {}))
        self.listen(1.0, "done")

    def _vector_settings(self) -> None:
        """The weights of modules after the pooling; for other tools also the settings that they read."""
        embedding = self.checkpoint.embedding
        if embedding is not None and self.positions == "all":
            write_embedder(self.folder, embedding, self.checkpoint.config)
        elif embedding is not None:
            write_vector_weights(self.folder, embedding)

    def _golden_vectors(
        self, graph: EncoderGraph, recipe: QuantizationRecipe | None, target: TargetProfile
    ) -> GoldenFidelity:
        recorder = GoldenRecorder(
            checkpoint=self.checkpoint,
            float_model=self.float_model.plain,
            text=self.text,
            all_positions=self.positions == "all",
            row_independent=recipe is None or decider_of(recipe.method).row_independent,
            packed=recipe is not None and decider_of(recipe.method).depends_on_packing,
        )
        in_numpy = recipe is not None and recipe.method.may_overflow and not is_correct_here(target)
        return recorder.write(self.folder, self.format, graph.builder if in_numpy else None)

    @cached_property
    def calibration_sha256(self) -> str:
        """Hash of the calibration text."""
        return text_sha256(Path(self.calibration or default_text()))

    def _manifest(
        self,
        graph: EncoderGraph,
        decision: Decision,
        recipe: QuantizationRecipe | None,
        target: TargetProfile,
        fidelity: GoldenFidelity,
    ) -> Manifest:
        return Manifest(
            schema_version=SCHEMA_VERSION,
            config=write_config(self.checkpoint.config),
            target=target.name,
            recipe=recipe,
            heads=self.checkpoint.heads,
            positions=self.positions,
            row_independent=recipe is None or decider_of(recipe.method).row_independent,
            inputs=tuple(value.name for value in graph.builder.inputs),
            outputs=tuple(value.name for value in graph.builder.outputs),
            files=file_entries(self.folder),
            coverage=coverage(graph, decision.plan),
            fidelity=fidelity,
            provenance=Provenance(
                source=self.checkpoint.name,
                source_sha256=self.checkpoint.weights_sha256,
                calibration_sha256=self.calibration_sha256,
                versions=_versions(),
            ),
            min_onnxruntime=versions.newest(MIN_ONNXRUNTIME, decision.min_onnxruntime),
            bytes_by_part=bytes_by_part(graph),
            warnings=(*self.checkpoint.warnings, *decision.warnings),
            left_out=self.checkpoint.left_out,
            settings=self.checkpoint.parts.settings,
            weight_range=target.weight_range if recipe is not None and recipe.method.may_overflow else None,
        )


def _versions() -> dict[str, str]:
    """The versions that a bundle may depend on."""
    return {
        "bertedge": bertedge.__version__,
        "onnxruntime": versions.version(),
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
