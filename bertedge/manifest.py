"""``manifest.json``: what a bundle is, how it was made, and the hashes of its files."""

from __future__ import annotations

import hashlib
import json
import math
import re
import reprlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from bertedge.bounds import Bytes, Cosine, Count, Ratio, Share
from bertedge.cpu import Cpu
from bertedge.encoders import read_config
from bertedge.errors import BundleError, CheckpointError, FileError
from bertedge.files import sha256
from bertedge.heads import HEADS
from bertedge.heads.parts import HeadSettings, Parts
from bertedge.plan import AGAIN
from bertedge.pooling import EmbeddingSettings
from bertedge.predictor import POOLER_OUTPUT
from bertedge.recipe import QuantizationRecipe
from bertedge.records import from_json, read_json, to_json, write_json
from bertedge.target import AUTO, TARGETS, describe_fit, resolve_target
from bertedge.weight_range import WeightRange

SCHEMA_VERSION = 7
MANIFEST = "manifest.json"
#: Format -> the model's file; a bundle has one.
MODELS = {"onnx": "model.onnx", "ort": "model.ort"}
#: The weights of a larger ONNX model, in ONNX's format for external data.
WEIGHTS = "model.onnx_data"
#: The manifest's hash of itself, so that a target or a weight range changed by hand is noticed.
DIGEST = "digest"
#: ``1.21`` or ``1.21.0``.
VERSION = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6}){0,3}")
#: Positions -> the inputs of a graph besides its text; see :func:`bertedge.graph.encoder_graph.build_graph`.
READ_INPUTS = {"masked": ("masked_positions", "hidden_positions"), "all": ("logits_end",)}
#: Inputs that a graph may lack: models without the MLM head do, and tools remove inputs that have a default.
OPTIONAL_INPUTS = ("logits_end",)


@dataclass(frozen=True, kw_only=True)
class FileEntry:
    """Hash and size of a file."""

    sha256: str
    size_bytes: Bytes


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """Shares in 8 bits or fewer, 0 to 1: of the linear layers' multiply-accumulates, and of the weights' bytes."""

    macs: Share
    bytes: Share


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How many of some answers are equal to float's."""

    equal: Count
    of: Count


@dataclass(frozen=True, kw_only=True)
class GoldenFidelity:
    """The bundle compared with float on the golden inputs, on the machine that made it.

    Attributes:
        agreement: head -> its best answers, such as best words or labels, and how many of them are float's.
        max_prob_diff: largest difference of a probability; None for a model without probabilities.
        max_score_diff: largest difference of a score, relative to float's largest score; None for a model without.
        min_cosine: smallest cosine of a vector: the ``[CLS]`` state, the mean state, the pooler's output.
    """

    agreement: dict[str, Agreement] = field(default_factory=dict)
    max_prob_diff: Share | None
    max_score_diff: Ratio | None = None
    min_cosine: Cosine


@dataclass(frozen=True, kw_only=True)
class ReachedGoal:
    """A goal, and the value that was measured on held-out text, with its 95 % interval.

    Attributes:
        bound: the largest allowed value, or the smallest of a metric that should be high.
        n: masked positions or pairs that were measured.
        met: the whole interval is within the bound.
    """

    metric: str
    bound: float
    value: float
    low: float
    high: float
    n: Count
    met: bool

    def flaw(self) -> str | None:
        """A message if the goal is not valid; None otherwise."""
        return None if math.isfinite(self.bound) else f"the bound is {self.bound}"


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where a bundle came from."""

    source: str
    source_sha256: str
    calibration_sha256: str | None
    versions: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """``manifest.json``.

    Attributes:
        recipe: None for a float32 bundle.
        heads: names in :data:`bertedge.heads.HEADS` of the heads that the model has tensors for.
        positions: ``masked`` or ``all``; see :func:`bertedge.graph.encoder_graph.build_graph`.
        row_independent: the result of a row does not depend on the other rows of its batch.
        warnings: for users, a sentence each.
        left_out: names of the checkpoint's tensors that the bundle does not use, such as a classifier's.
        bytes_by_part: weights of the embeddings, of each encoder layer and of each head.
        layer_reasons: every layer that is not in the method's plain format -> its format and the reason.
        goals: option, such as ``max_kl`` -> the goal and its measured value.
        settings: what the checkpoint says about its heads, such as labels and pooling.
        weight_range: limits of the int8 weights; None if no int8 weights are multiplied.
    """

    schema_version: int
    config: dict[str, Any]
    target: str
    recipe: QuantizationRecipe | None
    heads: tuple[str, ...]
    positions: Literal["masked", "all"]
    row_independent: bool
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    files: dict[str, FileEntry]
    coverage: Coverage
    fidelity: GoldenFidelity
    provenance: Provenance
    min_onnxruntime: str
    bytes_by_part: dict[str, Bytes] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    layer_reasons: dict[str, str] = field(default_factory=dict)
    goals: dict[str, ReachedGoal] = field(default_factory=dict)
    settings: HeadSettings = field(default_factory=HeadSettings)
    weight_range: WeightRange | None = None

    def __post_init__(self) -> None:
        outside = [name for name in self.files if not _is_inside(name)]
        if outside or len(self._models) != 1:
            raise BundleError(f"{MANIFEST}: lists {outside or self._models or 'no model'}", AGAIN)
        if self.target not in TARGETS:
            raise BundleError(f"{MANIFEST}: target {self.target!r} is not known", "install a newer bertedge")
        if not VERSION.fullmatch(self.min_onnxruntime):
            version = reprlib.repr(self.min_onnxruntime)
            raise BundleError(f"{MANIFEST}: min_onnxruntime {version} is not a version", AGAIN)

    @property
    def contradiction(self) -> str | None:
        """A message if statements in the manifest contradict each other; None otherwise."""
        if unknown := [head for head in self.heads if head not in HEADS]:
            return f"head {unknown[0]!r} is not known"
        given = {name for names in self.parts.output_names(self.positions).values() for name in names}
        taken = {*read_config(self.config).text_inputs, *READ_INPUTS[self.positions]}
        for words, names, expected, optional in (
            ("inputs", self.inputs, taken, OPTIONAL_INPUTS),
            ("outputs", self.outputs, given, ()),
        ):
            if not expected.difference(optional) <= set(names) <= expected:
                return f"{words} are {', '.join(names) or 'none'}, expected {', '.join(sorted(expected))}"
        return None

    @property
    def parts(self) -> Parts:
        """Its heads, and whether it has a pooler."""
        return Parts(self.heads, pooler=POOLER_OUTPUT in self.outputs, settings=self.settings)

    @property
    def embedding(self) -> EmbeddingSettings | None:
        """How the model makes vectors; None if its checkpoint has no such settings."""
        return self.settings.embedding

    @property
    def _models(self) -> list[str]:
        return [format for format, name in MODELS.items() if name in self.files]

    @property
    def format(self) -> str:
        """``onnx``, or ``ort`` for onnxruntime's minimal builds."""
        return self._models[0]

    @property
    def model_files(self) -> tuple[str, ...]:
        """The files that the model consists of."""
        return tuple(name for name in (MODELS[self.format], WEIGHTS) if name in self.files)

    @property
    def model_bytes(self) -> int:
        """Bytes of these files."""
        return sum(self.files[name].size_bytes for name in self.model_files)

    @property
    def model_sha256(self) -> str:
        """A hash of these files."""
        hashes = [self.files[name].sha256 for name in self.model_files]
        return hashes[0] if len(hashes) == 1 else hashlib.sha256(" ".join(hashes).encode()).hexdigest()

    @property
    def may_overflow(self) -> bool:
        """Whether int8 sums can overflow on some CPUs; see :mod:`bertedge.target`."""
        return self.recipe is not None and self.recipe.method.may_overflow

    def fit_here(self, supported: Callable[[Cpu], WeightRange]) -> str:
        """A sentence about whether the bundle is correct on this CPU.

        Args:
            supported: the weights that an engine multiplies without overflow on a CPU.
        """
        return describe_fit(self.target if self.may_overflow else resolve_target(AUTO).name, supported)


def read_manifest(path: Path) -> Manifest:
    """Read ``manifest.json`` and check it.

    Raises:
        BundleError: it is of another schema, was changed, or contradicts itself.
        FileError: it cannot be read.
    """
    raw = read_json(path)
    version = raw.get("schema_version") if isinstance(raw, dict) else None
    if not isinstance(version, int):
        raise BundleError(f"{path}: has no schema_version", AGAIN)
    if version != SCHEMA_VERSION:
        age, hint = ("newer", "install a newer bertedge") if version > SCHEMA_VERSION else ("older", "make it again")
        raise BundleError(f"{path}: schema {version} is {age} than {SCHEMA_VERSION}, which this bertedge reads", hint)
    digest = raw.pop(DIGEST, None)
    try:
        manifest = from_json(Manifest, raw, path.name)
        read_config(manifest.config)
        if manifest.contradiction is not None:
            raise FileError(f"{path.name}: {manifest.contradiction}", AGAIN)
    except (FileError, CheckpointError) as error:
        raise BundleError(f"{path.parent}: {error.message}", AGAIN) from error
    if digest != _digest(raw):
        raise BundleError(f"{path}: was changed after bertedge wrote it, so its content cannot be trusted", AGAIN)
    return manifest


def _digest(raw: dict[str, Any]) -> str:
    """A hash of the manifest's content. It detects mistakes, not attacks."""
    text = json.dumps(raw, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def file_entries(folder: Path) -> dict[str, FileEntry]:
    """Hash every file of a folder and of the folders in it, for its manifest."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): FileEntry(sha256=sha256(path), size_bytes=path.stat().st_size)
        for path in files
    }


def _is_inside(name: str) -> bool:
    """Whether this is the path of a file in the bundle's folder, or in a folder in it such as ``2_Dense``."""
    parts = name.split("/")
    return len(parts) <= 2 and all(part not in ("", ".", "..") and Path(part).name == part for part in parts)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``manifest.json``, the last file of a bundle: a folder with a manifest is complete."""
    raw = to_json(manifest)
    write_json(folder / MANIFEST, {**raw, DIGEST: _digest(raw)})
