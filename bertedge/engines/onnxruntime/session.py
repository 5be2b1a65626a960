"""An onnxruntime session over a bundle's model."""

from __future__ import annotations

import ctypes
import math
import statistics
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from bertedge.engines.fork import PerProcess
from bertedge.engines.onnxruntime.utf8_path import utf8_path
from bertedge.engines.threads import checked_threads
from bertedge.errors import BundleError

#: int8 multiply-accumulates of a call that may be faster on one thread: about 2 ms of one core.
SMALL_WORK = 500_000_000
#: Bytes of a model that is not loaded a second time just to try its small calls on one thread.
LARGE_FILE = 64_000_000
#: Calls of each size that each number of threads is tried with, one after the other, and how often that is done.
TRIAL_CALLS, TRIAL_ROUNDS = 4, 3
#: Of so many later calls, so many try another number of threads: half a per cent, which no p99 shows.
RETRY_EVERY, RETRY_CALLS = 600, 3
#: (inputs, what the call costs in int8 multiply-accumulates) -> outputs.
Run = Callable[[dict[str, NDArray[np.int64]], int], dict[str, NDArray[np.float32]]]
#: onnxruntime's log severity. It warns of every input with a default, which is meant to be one.
ERRORS_ONLY = 3
MAKE_AGAIN = "make the bundle again"


def open_session(
    model: Path | bytes,
    *,
    threads: int,
    spinning: bool = True,
    once: bool = False,
    replaced: Mapping[str, NDArray[np.float32]] | None = None,
    profile: Path | None = None,
) -> ort.InferenceSession:
    """Load a model for the CPU.

    Args:
        threads: threads that one operator may use.
        replaced: tensors of the file, by name, whose values are to be others.
        once: the session serves a few calls only, so weights are left where they are instead of being packed for speed.
        spinning: let idle threads wait actively; faster between operators, wasteful when requests are rare.
        profile: note what every operator takes, in a file whose name starts like this; ``end_profiling`` closes it.

    Raises:
        BundleError: onnxruntime cannot load the file.
        UsageError: too many threads, or too few.
    """
    options = _options()
    options.intra_op_num_threads = checked_threads(threads)
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spinning else "0")
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    if once:
        options.add_session_config_entry("session.disable_prepacking", "1")
    values = {name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in (replaced or {}).items()}
    for name, value in values.items():  # which must live until the session is there
        options.add_initializer(name, value)
    return _open(model, options)


def save_ort_format(model: Path, path: Path) -> None:
    """Write an ONNX file in ORT format, which minimal builds of onnxruntime read.

    Nothing is optimized when such a file is loaded, so it is saved with what :func:`open_session` has onnxruntime do to
    an ONNX file, and gives the same results. None of that belongs to the CPU that it is done on.

    Raises:
        BundleError: onnxruntime cannot load the file.
    """
    options = _options()
    options.add_session_config_entry("session.save_model_format", "ORT")
    options.add_session_config_entry("session.disable_prepacking", "1")
    with utf8_path(path) as named:
        options.optimized_model_filepath = named
        _open(model, options)


def _options() -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    # Level "basic" folds constants. "extended" would turn Add + LayerNormalization into SkipLayerNormalization, which
    # is slower; the levels above it lay data out for one kind of CPU.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    return options


def _open(model: Path | bytes, options: ort.SessionOptions) -> ort.InferenceSession:
    try:
        with nullcontext(model) if isinstance(model, bytes) else utf8_path(model) as source:
            session = ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions share no base
        where = "a model in memory" if isinstance(model, bytes) else model
        raise BundleError(
            f"{where}: onnxruntime {ort.__version__} cannot load it ({_reason(error)})", MAKE_AGAIN
        ) from error
    _return_freed_memory()
    return session


def _reason(error: Exception) -> str:
    return str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__


def _return_freed_memory() -> None:
    """Give back what loading took for a moment, about the file's size; the C library keeps it otherwise.

    Only GNU's library has such a call; where there is another one, nothing happens.
    """
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, TypeError, AttributeError):
        return
    trim(0)


class Sessions:
    """One model with as many threads as a call is worth.

    Every operator that is spread over threads waits for the slowest of them, and how long that takes is the machine's
    affair: on one and the same two-core host, 16 tokens of a 4 x 256 model took 0.35 ms on one thread and, on two,
    0.27 ms in one hour and 0.57 ms in the next. So small calls are tried both ways, and what was faster is used.
    Results are the same to the bit, for every number is summed by one thread. A large model opens one session only: few
    of its calls are small, and each session holds the weights. A forked process opens its own.

    Args:
        threads: threads that one operator may use.
        once, replaced: see :func:`open_session`.
        check: whether the file is still the one that was opened; asked before a forked process opens it again.
    """

    def __init__(
        self,
        path: Path,
        *,
        threads: int,
        once: bool = False,
        replaced: Mapping[str, NDArray[np.float32]] | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._once = once
        self._by_threads: PerProcess[int, ort.InferenceSession] = PerProcess(
            lambda threads: open_session(path, threads=threads, once=once, replaced=replaced), before=check
        )
        self._trials: dict[int, _Trial] = {}
        self.threads = threads
        session = self.session(threads)  # a file that cannot be loaded is an error now, not at the first call
        self._path = path
        #: Output -> its extents, as the file says: names for those that differ from call to call.
        self.outputs = {output.name: output.shape for output in session.get_outputs()}  # asking costs microseconds
        inputs = (*session.get_inputs(), *session.get_overridable_initializers())
        #: What a call may give, those inputs included that have a default.
        self.input_names = frozenset(value.name for value in inputs)
        self._tries = threads > 1 and not once and path.stat().st_size <= LARGE_FILE

    def run(self, feed: dict[str, NDArray[np.int64]], work: int) -> dict[str, NDArray[np.float32]]:
        """Run the model.

        Args:
            work: what this call costs, in int8 multiply-accumulates.
        """
        if not self._tries or work >= SMALL_WORK:
            return self._run(feed, self.threads)
        trial = self._trials.setdefault(work.bit_length(), _Trial((self.threads, 1)))
        threads = trial.threads()
        start = time.perf_counter()
        outputs = self._run(feed, threads)
        trial.record(threads, (time.perf_counter() - start) / work)
        return outputs

    @property
    def callers(self) -> int:
        """How many calls may run side by side, each on one thread; one where the weights shall be in memory once."""
        return 1 if self._once else self.threads

    def run_alone(self) -> Run:
        """A way to run the model on the calling thread alone, from several threads at once.

        The first time it loads the model a second time; its weights are in memory twice then.
        """
        self.session(1)  # here, before there are several threads
        return lambda feed, work: self._run(feed, 1)

    def _run(self, feed: dict[str, NDArray[np.int64]], threads: int) -> dict[str, NDArray[np.float32]]:
        session = self.session(threads)  # which may be opened again here, with errors of its own
        try:
            outputs = session.run(None, feed)
        except Exception as error:  # onnxruntime's exceptions share no base
            raise BundleError(
                f"{self._path}: onnxruntime {ort.__version__} cannot run it ({_reason(error)})", MAKE_AGAIN
            ) from error
        return dict(zip(self.outputs, outputs, strict=True))

    def require(self, inputs: Collection[str], outputs: Mapping[str, int], *, optional: Collection[str]) -> None:
        """Refuse a file that is another model than its manifest says.

        Args:
            inputs: their names.
            outputs: name -> last extent.
            optional: inputs that may be there or not.

        Raises:
            BundleError: it is.
        """
        found = {name: shape[-1] if shape else None for name, shape in self.outputs.items()}
        taken = self.input_names.union(optional)
        if taken != set(inputs).union(optional) or found != outputs:
            raise BundleError(
                f"{self._path}: takes {', '.join(sorted(self.input_names))} and gives "
                f"{', '.join(f'{name} (..., {extent})' for name, extent in sorted(found.items()))}; "
                "that is not what the manifest says",
                MAKE_AGAIN,
            )

    def session(self, threads: int) -> ort.InferenceSession:
        """The session with so many threads; opened on first use in each process."""
        return self._by_threads[threads]


class _Trial:
    """Finds the faster of two numbers of threads for calls of one size, and looks again now and then.

    A core that another process took for a moment makes the wrong one look faster, so each is tried at several moments,
    the median of its latest times counts, and what lost is tried again among later calls. (The smallest time would not
    do: next to a process that keeps a core, two threads are fast now and then, and slow as a rule.)
    """

    def __init__(self, choices: tuple[int, int]) -> None:
        self._latest: dict[int, tuple[float, ...]] = dict.fromkeys(choices, ())
        self._first = [threads for _ in range(TRIAL_ROUNDS) for threads in choices for _ in range(TRIAL_CALLS)]
        self._calls = 0

    def threads(self) -> int:
        """What to use for the next call."""
        if self._calls < len(self._first):
            return self._first[self._calls]
        faster, slower = sorted(self._latest, key=self._cost)
        return slower if self._calls % RETRY_EVERY < RETRY_CALLS else faster

    def _cost(self, threads: int) -> float:
        latest = self._latest[threads]
        return statistics.median(latest) if latest else math.inf

    def record(self, threads: int, cost: float) -> None:
        """Note what a call took."""
        self._calls += 1
        self._latest[threads] = (*self._latest[threads], cost)[-TRIAL_CALLS * TRIAL_ROUNDS :]
