"""Int8 BERT for CPUs and ARM boards: export, quantize, run and measure.

Everything here is loaded when it is first used, so that the runtime never pays for the tools.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

#: onnxruntime 1.29 and newer send telemetry to Microsoft and keep files below the user's cache folder, unless this is
#: set before onnxruntime is imported. It is set here because every module of bertedge is imported after this one.
NO_TELEMETRY = "ORT_DISABLE_TELEMETRY"
os.environ.setdefault(NO_TELEMETRY, "1")

if TYPE_CHECKING:
    from bertedge.benchmark import bench as bench
    from bertedge.bundle import Bundle as Bundle
    from bertedge.checkpoint import Checkpoint as Checkpoint
    from bertedge.quantization import export as export
    from bertedge.quantization import quantize as quantize
    from bertedge.runtime import load as load

__version__ = "0.1.0"
__all__ = ["Bundle", "Checkpoint", "bench", "export", "load", "quantize"]

_HOMES = {
    "Bundle": "bertedge.bundle",
    "Checkpoint": "bertedge.checkpoint",
    "bench": "bertedge.benchmark",
    "export": "bertedge.quantization",
    "load": "bertedge.runtime",
    "quantize": "bertedge.quantization",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'bertedge' has no attribute {name!r}")
    from bertedge.errors import MissingExtraError

    try:
        value = getattr(import_module(_HOMES[name]), name)
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or name, "tools") from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
