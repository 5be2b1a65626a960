"""One onnxruntime session on the CPU."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from bertedge.engines.onnxruntime.utf8_path import utf8_path
from bertedge.engines.threads import checked_threads
from bertedge.errors import BundleError
from bertedge.manifest import WEIGHTS

#: onnxruntime's log severity: fatal errors only. It raises other errors as exceptions, too, and it would warn of every
#: input that has a default value.
FATAL_ONLY = 4
MAKE_AGAIN = "make the bundle again"
FOLLOW_LINKS = f"{WEIGHTS} is a link: copy the bundle with the files themselves, such as by cp -rL"
PREFIX = "[ONNXRuntimeError] : "


def open_session(
    model: Path | bytes,
    *,
    threads: int,
    few_calls: bool = False,
    replaced: Mapping[str, NDArray[np.float32]] | None = None,
    profile: Path | None = None,
) -> ort.InferenceSession:
    """Load a model for the CPU.

    Args:
        threads: threads that one operator may use.
        few_calls: the session serves a few calls only, so weights are not packed for speed.
        replaced: tensor's name -> value that is used instead of the file's.
        profile: record the time of every operator in a file whose name starts like this; ``end_profiling`` closes it.

    Raises:
        BundleError: onnxruntime cannot load the file.
        UsageError: too many threads, or too few.
    """
    options = session_options()
    options.intra_op_num_threads = checked_threads(threads)
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    if few_calls:
        options.add_session_config_entry("session.disable_prepacking", "1")
    values = {name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in (replaced or {}).items()}
    for name, value in values.items():  # the values must live until the session is open
        options.add_initializer(name, value)
    return load_session(model, options)


def session_options() -> ort.SessionOptions:
    """Options that every session shares."""
    options = ort.SessionOptions()
    options.log_severity_level = FATAL_ONLY
    # Level "basic" folds constants. "extended" would turn Add + LayerNormalization into SkipLayerNormalization, which
    # is slower; the levels above it lay data out for one kind of CPU.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    return options


def load_session(model: Path | bytes, options: ort.SessionOptions) -> ort.InferenceSession:
    """Load a model with some options; see :func:`open_session`."""
    try:
        with nullcontext(model) if isinstance(model, bytes) else utf8_path(model) as source:
            session = ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions share no base
        where = "a model in memory" if isinstance(model, bytes) else model
        raise BundleError(
            f"{where}: onnxruntime {ort.__version__} cannot load it ({reason_of(error)})",
            FOLLOW_LINKS if isinstance(model, Path) and model.with_name(WEIGHTS).is_symlink() else MAKE_AGAIN,
        ) from error
    _return_freed_memory()
    return session


def inputs_of(session: ort.InferenceSession) -> frozenset[str]:
    """The names of all inputs, including those that have a default."""
    return frozenset(value.name for value in (*session.get_inputs(), *session.get_overridable_initializers()))


def reason_of(error: Exception) -> str:
    """The reason in the last line of onnxruntime's message."""
    lines = str(error).strip().splitlines()
    # the names of the functions where it happened come before the last prefix
    return lines[-1].rpartition(PREFIX)[2] if lines else type(error).__name__


def _return_freed_memory() -> None:
    """Return the memory that loading needed for a moment, about the file's size; the C library would keep it.

    Only the GNU C library has this call.
    """
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, TypeError, AttributeError):
        return
    trim(0)
