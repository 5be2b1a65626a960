"""Cold start and peak memory of a bundle, in new processes."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bertedge.engines import AUTO
from bertedge.errors import BertEdgeError

#: A program that imports bertedge, loads a bundle and runs all its heads once. It reads peak memory from VmHWM, because
#: the value of getrusage includes the peak of the parent process.
PROBE = """
import sys, time
start = time.perf_counter()
import numpy as np
from bertedge.heads.text_model import row_of
from bertedge.runtime import load
runtime = load(sys.argv[1], engine=sys.argv[2], threads=int(sys.argv[3]))
before = "The capital of France is" if runtime.bundle.config.max_length >= 64 else ""
encoding = runtime.tokenizer.encode(f"{before} {runtime.tokenizer.mask_token}.")
masked = np.flatnonzero(np.array(encoding.input_ids) == runtime.tokenizer.id_of("mask"))
row = row_of(encoding, masked_positions=masked, hidden=runtime.bundle.manifest.parts.reads_every)
runtime.runner.run([row], lambda outputs: None)
elapsed = time.perf_counter() - start
import json, pathlib, re
try:
    status = pathlib.Path("/proc/self/status").read_text()
    peak = 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", status).group(1))
except (OSError, AttributeError):
    import resource
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
modules = sorted({name.split(".")[0] for name in sys.modules})
print(json.dumps({"cold_start_ms": 1e3 * elapsed, "peak_rss_bytes": peak, "modules": modules}))
"""
#: With probability 94 %, the true median is between the smallest and the largest of five values.
STARTS = 5


@dataclass(frozen=True, kw_only=True)
class ColdStart:
    """The start of new processes: import, load, one prediction.

    Attributes:
        cold_start_ms: the median.
        samples_ms: the time of each process.
        modules: top-level modules that the process loaded.
    """

    cold_start_ms: float
    samples_ms: tuple[float, ...]
    peak_rss_bytes: int
    modules: tuple[str, ...]


def measure_cold_start(bundle: Path, *, threads: int, engine: str = AUTO, repeats: int = STARTS) -> ColdStart:
    """Median time and largest memory of several new processes.

    Raises:
        BertEdgeError: the process failed.
    """
    runs = [_probe(bundle, engine, threads) for _ in range(repeats)]
    return ColdStart(
        cold_start_ms=statistics.median(run["cold_start_ms"] for run in runs),
        samples_ms=tuple(run["cold_start_ms"] for run in runs),
        peak_rss_bytes=max(run["peak_rss_bytes"] for run in runs),
        modules=tuple(runs[0]["modules"]),
    )


def _probe(bundle: Path, engine: str, threads: int) -> dict:
    # -P: without it the process would import a copy of bertedge in the working directory, such as its source code
    command = [sys.executable, "-P", "-c", PROBE, str(bundle.resolve()), engine, str(threads)]
    same_modules = os.pathsep.join(map(os.path.abspath, sys.path))
    environment = {**os.environ, "PYTHONPATH": same_modules}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        said = [line for line in done.stderr.strip().splitlines() if not line.startswith("hint: ")]
        reason = (said or ["no output"])[-1]
        raise BertEdgeError(
            f"{bundle}: a new process could not run it ({reason})", "try: bertedge verify " + str(bundle)
        )
    return json.loads(done.stdout)
