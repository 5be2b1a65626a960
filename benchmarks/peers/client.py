"""Start the processes of peers and send them requests."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from bertedge.predictor import Batch, Outputs

BENCHMARKS = Path(__file__).resolve().parent.parent
#: Variables that would give some peers fewer threads than others, change the native engine's kernel, or make every
#: process compile its modules again.
LEFT_OUT = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "BERTEDGE_KERNEL", "PYTHONDONTWRITEBYTECODE")
#: Seconds to wait for an answer; compiling and quantizing the largest model take minutes.
PATIENCE_S = 900.0


class PeerFailed(Exception):
    """A peer could not do what it was asked to; the message gives the reason."""


class Process:
    """A peer's process.

    Args:
        name: its row in :data:`peers.table.PEERS`.
        scratch: folder for batches, results and the caches of compilers.
    """

    def __init__(self, name: str, scratch: Path) -> None:
        self.name, self._scratch = name, scratch
        self._log = tempfile.TemporaryFile()  # noqa: SIM115, it is open as long as the process
        path = os.pathsep.join([str(BENCHMARKS), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {
            **{name: value for name, value in os.environ.items() if name not in LEFT_OUT},
            "PYTHONPATH": path,
            "PYTHONPYCACHEPREFIX": str(scratch / "bytecode"),
            "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "true",
            # OpenVINO and NNCF send telemetry from a process that stays behind, except in CI
            "CI": "true",
            "NNCF_CI": "1",
            "TORCHINDUCTOR_CACHE_DIR": str(scratch / "inductor"),
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "peers.worker", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=environment,
        )

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """End the process; kill it if it does not end."""
        try:
            self._process.communicate(timeout=10)
        except (subprocess.TimeoutExpired, BrokenPipeError):
            self._process.kill()
            self._process.wait()
        self._log.close()

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """Send a request and wait for its answer.

        Raises:
            PeerFailed: it failed, ended, or did not answer in time.
        """
        try:
            self._process.stdin.write(json.dumps({"do": do, **request}).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise PeerFailed(self._last_words()) from None
        if not select.select([self._process.stdout], [], [], PATIENCE_S)[0]:
            self._process.kill()
            raise PeerFailed(f"no answer to {do!r} within {PATIENCE_S:.0f} s")
        line = self._process.stdout.readline()
        if not line:
            raise PeerFailed(self._last_words())
        answer = json.loads(line)
        if "error" in answer:
            raise PeerFailed(answer["error"])
        return answer

    def predict(self, batch: Batch) -> Outputs:
        """Both heads; see :class:`bertedge.predictor.Predictor`."""
        output = self._scratch / "predicted.npz"
        self.ask("predict", batch=str(write_batch(self._scratch / "asked.npz", batch)), output=str(output))
        with np.load(output) as stored:
            logits = dict(stored)
        output.unlink()
        return Outputs(logits=logits)

    def _last_words(self) -> str:
        code = self._process.wait()
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines() or ["it said nothing"]
        return f"the process ended with {code}: {lines[-1]}"


def write_batch(path: Path, batch: Batch) -> Path:
    """For :func:`peers.worker.read_batch`."""
    np.savez(path, **batch.arrays())
    return path
