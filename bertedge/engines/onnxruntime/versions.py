"""The installed version of onnxruntime."""

from __future__ import annotations

import logging

import onnxruntime as ort

import bertedge
from bertedge.errors import UnfitMachineError

FIRST_WITH_TELEMETRY = "1.29"
_log = logging.getLogger(__name__)


def version() -> str:
    """The version that is installed."""
    return ort.__version__


def require_onnxruntime(minimum: str, needed_by: str = "this bundle") -> None:
    """Refuse an onnxruntime that is too old.

    Raises:
        UnfitMachineError: it is older than ``minimum``.
    """
    if not is_new_enough(minimum):
        raise UnfitMachineError(
            f"onnxruntime {ort.__version__} is too old: {needed_by} needs {minimum} or newer",
            "pip install -U onnxruntime",
        )


def warn_of_telemetry() -> None:
    """Warn where onnxruntime's telemetry runs because onnxruntime was imported before bertedge.

    Its thread does not survive a fork: a child process waits for it at exit, or is aborted. It cannot be stopped later.
    """
    if bertedge.ONNXRUNTIME_CAME_FIRST and is_new_enough(FIRST_WITH_TELEMETRY):
        _log.warning(
            "onnxruntime was imported before bertedge: its telemetry is on, and forked processes may not end; "
            "import bertedge first, or set %s=1",
            bertedge.NO_TELEMETRY,
        )


def is_new_enough(minimum: str) -> bool:
    """Whether the installed onnxruntime is at least of this version."""
    return _version(ort.__version__) >= _version(minimum)


def newest(*versions: str) -> str:
    """The newest of some versions of onnxruntime."""
    return max(versions, key=_version)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("+")[0].split(".") if part.isdigit())
