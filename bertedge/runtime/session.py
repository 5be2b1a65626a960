"""An onnxruntime session over a bundle's model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from bertedge.errors import BundleError, UnfitMachineError

#: Multiply-accumulates below which one thread is faster than several.
SMALL_WORK = 250_000_000
ERRORS_ONLY = 3  # onnxruntime's log severity


def open_session(path: Path, *, threads: int, spinning: bool = True, once: bool = False) -> ort.InferenceSession:
    """Load a model for the CPU.

    Args:
        threads: threads that one operator may use.
        once: the session serves a few calls only, so weights are left where they are instead of being packed for speed.
        spinning: let idle threads wait actively; faster between operators, wasteful when requests are rare.

    Raises:
        BundleError: onnxruntime cannot load the file.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = ERRORS_ONLY
    # Level "basic" folds constants. "extended" would turn Add + LayerNormalization into SkipLayerNormalization, which is slower.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spinning else "0")
    if once:
        options.add_session_config_entry("session.disable_prepacking", "1")
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions share no base
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
        raise BundleError(
            f"{path}: onnxruntime {ort.__version__} cannot load it ({reason})", "make the bundle again"
        ) from error


class Sessions:
    """One model with as many threads as a call is worth.

    Every operator that is spread over threads waits for the slowest of them. Measured on two cores, a 4 x 256 model takes
    0.36 ms for 16 tokens on one thread and 0.57 ms on two; from about ``SMALL_WORK`` on, two are faster. So small calls
    run on a session of their own, which is opened when the first of them comes. A model so large that hardly any call is
    small never opens it.
    """

    def __init__(self, path: Path, *, threads: int, once: bool = False) -> None:
        self._path, self._once = path, once
        self._by_threads: dict[int, ort.InferenceSession] = {}
        self.threads = threads

    def run(self, feed: dict[str, NDArray[np.int64]], work: int) -> dict[str, NDArray[np.float32]]:
        """Run the model.

        Args:
            work: multiply-accumulates of this call.
        """
        session = self.session(1 if work < SMALL_WORK and not self._once else self.threads)
        return dict(zip((output.name for output in session.get_outputs()), session.run(None, feed), strict=True))

    def session(self, threads: int) -> ort.InferenceSession:
        """The session with so many threads; opened on first use."""
        if threads not in self._by_threads:
            self._by_threads[threads] = open_session(self._path, threads=threads, once=self._once)
        return self._by_threads[threads]


def require_onnxruntime(minimum: str) -> None:
    """Refuse an onnxruntime that is older than a bundle needs.

    Raises:
        UnfitMachineError: it is.
    """
    if _version(ort.__version__) < _version(minimum):
        raise UnfitMachineError(
            f"onnxruntime {ort.__version__} is too old: this bundle needs {minimum} or newer",
            "pip install -U onnxruntime",
        )


def _version(text: str) -> tuple[int, ...]:
    numbers = (part for part in text.split("+")[0].split("."))
    return tuple(int(part) for part in numbers if part.isdigit())
