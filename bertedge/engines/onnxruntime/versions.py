"""The onnxruntime that is installed: whether it is new enough, and what else is to be known of it."""

from __future__ import annotations

import logging

import onnxruntime as ort

import bertedge
from bertedge.errors import UnfitMachineError

FIRST_WITH_TELEMETRY = "1.29"
_log = logging.getLogger(__name__)


def require_onnxruntime(minimum: str, who: str = "this bundle") -> None:
    """Refuse an onnxruntime that is older than needed.

    Args:
        who: needs it.

    Raises:
        UnfitMachineError: it is.
    """
    if not is_new_enough(minimum):
        raise UnfitMachineError(
            f"onnxruntime {ort.__version__} is too old: {who} needs {minimum} or newer",
            "pip install -U onnxruntime",
        )


def warn_of_telemetry() -> None:
    """Say so where onnxruntime's telemetry runs though nobody chose it: it was imported before bertedge.

    Its thread does not survive a fork, and a child process waits for it at exit, or is aborted. Nothing stops it later.
    """
    if bertedge.ONNXRUNTIME_CAME_FIRST and is_new_enough(FIRST_WITH_TELEMETRY):
        _log.warning(
            "onnxruntime was imported before bertedge: its telemetry is on, and forked processes may not end; "
            "import bertedge first, or set %s=1",
            bertedge.NO_TELEMETRY,
        )


def is_new_enough(minimum: str) -> bool:
    """Whether this onnxruntime is of that version or a newer one."""
    return _version(ort.__version__) >= _version(minimum)


def newest(*versions: str) -> str:
    """The newest of some versions of onnxruntime."""
    return max(versions, key=_version)


def _version(text: str) -> tuple[int, ...]:
    numbers = (part for part in text.split("+")[0].split("."))
    return tuple(int(part) for part in numbers if part.isdigit())
