"""Tests of bertedge.

This file is imported before the tests and before every library. A parallel worker (``pytest -n``) gets one CPU here:
then each library in it uses one thread, the workers do not compete, and every run computes the same.
"""

import os
import tempfile

_worker = os.environ.get("PYTEST_XDIST_WORKER")
if _worker and hasattr(os, "sched_setaffinity"):
    _cpus = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {_cpus[int(_worker.removeprefix("gw")) % len(_cpus)]})

# The width of the terminal that the tests are started from changes no result.
for _name in ("COLUMNS", "LINES"):
    os.environ.pop(_name, None)

#: transformers makes torch's folder for compiled code when it is imported. It is removed when the tests end.
_CODE = tempfile.TemporaryDirectory(prefix="bertedge-tests-")
os.environ["TORCHINDUCTOR_CACHE_DIR"] = _CODE.name
