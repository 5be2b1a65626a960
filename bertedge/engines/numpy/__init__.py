"""The numpy engine: int8 matmuls in numpy, everything else in onnxruntime. Correct on every CPU, but slow.

Golden vectors are recorded with it where this machine's int8 matmul would overflow.
"""

from __future__ import annotations

from importlib.util import find_spec

from bertedge.bundle import Bundle
from bertedge.cpu import Cpu
from bertedge.engines.engine import Engine, Executor
from bertedge.engines.onnxruntime import require_installed
from bertedge.errors import MissingExtraError, UsageError
from bertedge.manifest import Manifest
from bertedge.weight_range import FULL_RANGE, WeightRange


def _weight_range(cpu: Cpu) -> WeightRange:
    return FULL_RANGE


def _require(manifest: Manifest, *, allow_any_cpu: bool = False) -> None:
    require_installed()
    from bertedge.engines.onnxruntime.versions import require_onnxruntime

    if find_spec("onnx") is None:
        raise MissingExtraError("onnx", "tools")
    if manifest.format != "onnx":
        raise UsageError(
            f"the numpy engine cannot split a model in {manifest.format} format", "use a bundle in ONNX format"
        )
    require_onnxruntime(manifest.min_onnxruntime)


def _open(bundle: Bundle, *, threads: int, check: bool = True) -> Executor:
    from bertedge.engines.numpy.numpy_model import NumpyModel
    from bertedge.engines.onnxruntime.executor import executor_of

    return executor_of(bundle, NumpyModel(bundle.model_path))


def _describe() -> str:
    return "exact int8 sums in numpy, slow; everything else in onnxruntime"


NUMPY = Engine(
    name="numpy",
    weight_range=_weight_range,
    require=_require,
    open=_open,
    describe=_describe,
    automatic=False,
)
