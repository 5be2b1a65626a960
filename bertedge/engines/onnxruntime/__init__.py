"""The onnxruntime engine: the reference, which runs on every CPU."""

from __future__ import annotations

from importlib.util import find_spec

from bertedge.bundle import Bundle
from bertedge.cpu import Cpu
from bertedge.engines.engine import Engine, Executor
from bertedge.errors import MissingExtraError
from bertedge.manifest import Manifest
from bertedge.target import best_target, this_target
from bertedge.weight_range import WeightRange


def _weight_range(cpu: Cpu) -> WeightRange:
    return best_target(cpu).weight_range


def require_installed() -> None:
    """Refuse to go on without onnxruntime, which a board that runs the native engine need not have.

    Raises:
        MissingExtraError: it is not installed.
    """
    if find_spec("onnxruntime") is None:
        raise MissingExtraError("onnxruntime")


def _require(manifest: Manifest, *, allow_any_cpu: bool = False) -> None:
    require_installed()
    from bertedge.engines.onnxruntime import cpu_check, versions

    versions.require_onnxruntime(manifest.min_onnxruntime)
    versions.warn_of_telemetry()
    if manifest.may_overflow and not allow_any_cpu:
        cpu_check.require_new_enough_for_int8()


def _open(bundle: Bundle, *, threads: int, check: bool = True) -> Executor:
    from bertedge.engines.onnxruntime.executor import open_bundle

    return open_bundle(bundle, threads=threads, check=check)


def _describe() -> str:
    if find_spec("onnxruntime") is None:
        return "onnxruntime is not installed"
    from bertedge.engines.onnxruntime.versions import version

    return f"onnxruntime {version()}; int8 matmul on this CPU: {this_target().kernel}"


ONNXRUNTIME = Engine(name="onnxruntime", weight_range=_weight_range, require=_require, open=_open, describe=_describe)
