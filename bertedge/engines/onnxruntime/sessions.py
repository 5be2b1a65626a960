"""One model in several sessions: one for each number of threads, in each process."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from bertedge.engines.onnxruntime.session import MAKE_AGAIN, inputs_of, open_session, reason_of
from bertedge.engines.onnxruntime.thread_trial import ThreadTrial
from bertedge.engines.per_process import PerProcess
from bertedge.errors import BundleError
from bertedge.manifest import WEIGHTS

#: int8 multiply-accumulates of a call that may be faster on one thread: about 2 ms of one core.
SMALL_WORK = 500_000_000
#: Largest file, in bytes, that is loaded a second time to try small calls on one thread.
LARGE_FILE = 64_000_000
#: (inputs, cost of the call in int8 multiply-accumulates) -> outputs.
Run = Callable[[dict[str, NDArray[np.int64]], int], dict[str, NDArray[np.float32]]]


class Sessions:
    """A model file that runs each small call on one thread or on all, whichever is faster.

    Every operator that is spread over threads waits for the slowest of them, and how long that takes depends on the
    machine: on one two-core host, 16 tokens of a 4 x 256 model took 0.35 ms on one thread and, on two threads, 0.27 ms
    in one hour and 0.57 ms in the next. So small calls are tried both ways, and the faster way is used. Results are the
    same to the bit, because every number is summed by one thread. A large model opens one session only: few of its
    calls are small, and each session holds the weights. A forked process opens its own sessions.

    Args:
        threads: threads that one operator may use.
        few_calls, replaced: see :func:`bertedge.engines.onnxruntime.session.open_session`.
        check: raises an error if the file is no longer the one that was opened; called before a forked process opens
            it again.
    """

    def __init__(
        self,
        path: Path,
        *,
        threads: int,
        few_calls: bool = False,
        replaced: Mapping[str, NDArray[np.float32]] | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._few_calls = few_calls
        self._by_threads: PerProcess[int, ort.InferenceSession] = PerProcess(
            lambda threads: open_session(path, threads=threads, few_calls=few_calls, replaced=replaced), before=check
        )
        self._trials: dict[int, ThreadTrial] = {}
        self.threads = threads
        session = self._by_threads[threads]  # reports a file that cannot be loaded now, not at the first call
        self._path = path
        #: Output -> its extents in the file: numbers, and names for extents that differ from call to call.
        self.outputs = {output.name: output.shape for output in session.get_outputs()}  # slow to query
        self.input_names = inputs_of(session)
        self._tries = threads > 1 and not few_calls and _size(path) <= LARGE_FILE

    def run(self, feed: dict[str, NDArray[np.int64]], work: int) -> dict[str, NDArray[np.float32]]:
        """Run the model.

        Args:
            work: cost of this call in int8 multiply-accumulates.
        """
        if not self._tries or work >= SMALL_WORK:
            return self._run(feed, self.threads)
        trial = self._trials.setdefault(work.bit_length(), ThreadTrial((self.threads, 1)))
        threads = trial.threads()
        start = time.perf_counter()
        outputs = self._run(feed, threads)
        trial.record(threads, (time.perf_counter() - start) / work)
        return outputs

    @property
    def callers(self) -> int:
        """How many calls may run at the same time, each on one thread; 1 if the weights must be in memory only once."""
        return 1 if self._few_calls else self.threads

    def run_alone(self) -> Run:
        """A function that runs the model on the calling thread only, and may be called from several threads at once.

        The first time it loads the model a second time; its weights are in memory twice then.
        """
        self._by_threads[1]  # opened here, before there are several threads
        return lambda feed, work: self._run(feed, 1)

    def _run(self, feed: dict[str, NDArray[np.int64]], threads: int) -> dict[str, NDArray[np.float32]]:
        session = self._by_threads[threads]  # after a fork this opens the file again, which has its own errors
        try:
            outputs = session.run(None, feed)
        except Exception as error:  # onnxruntime's exceptions share no base
            raise BundleError(
                f"{self._path}: onnxruntime {ort.__version__} cannot run it ({reason_of(error)})", MAKE_AGAIN
            ) from error
        return dict(zip(self.outputs, outputs, strict=True))

    def require(self, inputs: Collection[str], outputs: Mapping[str, int | str], *, optional: Collection[str]) -> None:
        """Refuse a model whose inputs or outputs differ from those in the manifest.

        Args:
            inputs: their names.
            outputs: name -> last extent.
            optional: inputs that the model may lack.

        Raises:
            BundleError: the inputs or outputs differ.
        """
        found = {name: shape[-1] if shape else None for name, shape in self.outputs.items()}
        taken = self.input_names.union(optional)
        if taken != set(inputs).union(optional) or found != outputs:
            raise BundleError(
                f"{self._path}: takes {', '.join(sorted(self.input_names))} and gives "
                f"{', '.join(f'{name} (..., {extent})' for name, extent in sorted(found.items()))}; "
                "the manifest lists others",
                MAKE_AGAIN,
            )


def _size(path: Path) -> int:
    """Bytes of a model, including a separate file of weights."""
    weights = path.with_name(WEIGHTS)
    return path.stat().st_size + (weights.stat().st_size if weights.exists() else 0)
