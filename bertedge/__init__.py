"""Int8 BERT for CPUs and ARM boards: export, quantize, run and measure.

Every name is imported when it is first used, so programs that only run bundles do not load the tools.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

#: onnxruntime 1.29 and newer send telemetry to Microsoft and keep files below the user's cache folder, unless this is
#: set before onnxruntime is imported. It is set here because every module of bertedge is imported after this one.
NO_TELEMETRY = "ORT_DISABLE_TELEMETRY"
#: Whether a program imported onnxruntime before bertedge, without the variable.
ONNXRUNTIME_CAME_FIRST = "onnxruntime" in sys.modules and NO_TELEMETRY not in os.environ
os.environ.setdefault(NO_TELEMETRY, "1")

if TYPE_CHECKING:
    from bertedge.benchmark import BenchSettings as BenchSettings
    from bertedge.benchmark import Standard as Standard
    from bertedge.benchmark import bench as bench
    from bertedge.bundle import Bundle as Bundle
    from bertedge.checkpoint import Checkpoint as Checkpoint
    from bertedge.errors import BertEdgeError as BertEdgeError
    from bertedge.evaluate.goals import Goal as Goal
    from bertedge.heads.mlm.fill_mask import Fill as Fill
    from bertedge.heads.question_answering.answer_spans import Answer as Answer
    from bertedge.heads.ranking.rerank import Ranked as Ranked
    from bertedge.heads.sequence_classification.classify import Classification as Classification
    from bertedge.heads.token_classification.tagging import Entity as Entity
    from bertedge.hub.download import pull as pull
    from bertedge.hub.model_card import CardFacts as CardFacts
    from bertedge.hub.upload import push as push
    from bertedge.jobs.mapper import BundleMapper as BundleMapper
    from bertedge.quantization import export as export
    from bertedge.quantization import quantize as quantize
    from bertedge.recipe import QuantizationRecipe as QuantizationRecipe
    from bertedge.report.gate import compare as compare
    from bertedge.report.schema import read_report as read_report
    from bertedge.report.schema import write_report as write_report
    from bertedge.runtime import BertRuntime as BertRuntime
    from bertedge.runtime import load as load
    from bertedge.runtime.verify import verify as verify
    from bertedge.train.distill import distill as distill
    from bertedge.train.pretrain import train as train
    from bertedge.train.training_settings import DistillationSettings as DistillationSettings
    from bertedge.train.training_settings import ModelShape as ModelShape
    from bertedge.train.training_settings import TrainingSettings as TrainingSettings
    from bertedge.tuning.search import tune as tune
    from bertedge.tuning.tuning_settings import TuneSettings as TuneSettings

__version__ = "0.1.0"
__all__ = [
    "Answer",
    "BenchSettings",
    "BertEdgeError",
    "BertRuntime",
    "Bundle",
    "BundleMapper",
    "CardFacts",
    "Checkpoint",
    "Classification",
    "DistillationSettings",
    "Entity",
    "Fill",
    "Goal",
    "ModelShape",
    "QuantizationRecipe",
    "Ranked",
    "Standard",
    "TrainingSettings",
    "TuneSettings",
    "bench",
    "compare",
    "distill",
    "export",
    "load",
    "pull",
    "push",
    "quantize",
    "read_report",
    "train",
    "tune",
    "verify",
    "write_report",
]

#: Module -> the public names that it defines.
_HOMES = {
    "bertedge.benchmark": ("BenchSettings", "Standard", "bench"),
    "bertedge.bundle": ("Bundle",),
    "bertedge.checkpoint": ("Checkpoint",),
    "bertedge.errors": ("BertEdgeError",),
    "bertedge.evaluate.goals": ("Goal",),
    "bertedge.heads.mlm.fill_mask": ("Fill",),
    "bertedge.heads.question_answering.answer_spans": ("Answer",),
    "bertedge.heads.ranking.rerank": ("Ranked",),
    "bertedge.heads.sequence_classification.classify": ("Classification",),
    "bertedge.heads.token_classification.tagging": ("Entity",),
    "bertedge.jobs.mapper": ("BundleMapper",),
    "bertedge.hub.download": ("pull",),
    "bertedge.hub.model_card": ("CardFacts",),
    "bertedge.hub.upload": ("push",),
    "bertedge.quantization": ("export", "quantize"),
    "bertedge.recipe": ("QuantizationRecipe",),
    "bertedge.report.gate": ("compare",),
    "bertedge.report.schema": ("read_report", "write_report"),
    "bertedge.runtime": ("BertRuntime", "load"),
    "bertedge.runtime.verify": ("verify",),
    "bertedge.train.distill": ("distill",),
    "bertedge.train.training_settings": ("DistillationSettings", "ModelShape", "TrainingSettings"),
    "bertedge.tuning.search": ("tune",),
    "bertedge.tuning.tuning_settings": ("TuneSettings",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
#: Packages that another extra than ``tools`` brings.
_EXTRAS = {"torch": "train"}


def __getattr__(name: str) -> Any:
    if name == "train":  # the package itself, which can be called
        return import_module("bertedge.train")
    if name not in _HOME_OF:
        raise AttributeError(f"module 'bertedge' has no attribute {name!r}")
    try:
        value = getattr(import_module(_HOME_OF[name]), name)
    except ModuleNotFoundError as error:
        package = error.name or name
        if package.startswith("bertedge"):
            raise
        from bertedge.errors import MissingExtraError

        raise MissingExtraError(package, _EXTRAS.get(package, "tools")) from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
