"""Damages a file again and again, and watches what the command that reads it makes of that."""

from __future__ import annotations

import io
import re
import signal
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import FrameType

import typer

from bertedge.errors import BertEdgeError
from bertedge.printable import UNPRINTABLE, printable
from tests.fuzz.mutators import Mutator

try:
    import resource
except ModuleNotFoundError:  # Windows
    resource = None  # type: ignore[assignment]

#: The CPU time that a command may take for a damaged file, and the memory beyond what is there before.
MOST_SECONDS, MOST_BYTES = 10, 2**30
#: The time by the clock, for what waits and does not work; on a busy machine much passes.
MOST_BY_CLOCK = 120
#: Such as 1e308 in full; a name of many ones is one of the mutations.
LONG_NUMBER = re.compile(r"(?!1{60})[0-9]{60}")
EXIT_CODES = (0, 1, 2, 3)


class Endless(BaseException):
    """The time is over. No ``Exception``, or what is tried would take it for a broken file."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A file, and what reads it.

    Attributes:
        read: the cheapest command that reads the file.
        before: puts back what the command changes, before the file is damaged.
        after: puts hashes right that would otherwise hide the damage.
    """

    path: Path
    mutators: tuple[Mutator, ...]
    read: Callable[[], object]
    before: Callable[[], object] = lambda: None
    after: Callable[[], object] = lambda: None


@dataclass(kw_only=True)
class Outcome:
    """What came of one file's mutations.

    Attributes:
        failures: what no user should see -> one of the mutations that lead there, in words.
    """

    tried: int = 0
    accepted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    failures: dict[str, str] = field(default_factory=dict)
    failed: int = 0
    seconds: float = 0.0
    slowest_s: float = 0.0
    most_bytes: int = 0

    def __str__(self) -> str:
        refused = sum(self.refused.values())
        return (
            f"{self.tried:6} tried, {refused:6} refused, {self.accepted:6} accepted, {self.failed:4} failed, "
            f"{self.seconds:6.1f} s of CPU, slowest {self.slowest_s:5.2f} s, {self.most_bytes / 1e6:4.0f} MB at most"
        )


def fuzz(
    case: Case, numbers: Iterable[int], *, seed: int, watch: Callable[[int], object] = lambda index: None
) -> Outcome:
    """Try some mutations of a file; the file is what it was afterwards.

    Args:
        numbers: of the mutations; see :func:`mutation`.
        watch: is told each number before it is tried.
    """
    outcome, original = Outcome(), case.path.read_bytes()
    case.after()
    assert (kind := observe(case.read)) is None, f"the undamaged file is refused: {kind}"
    try:
        for index in numbers:
            watch(index)
            mutator, mutated = mutation(case, original, seed, index)
            case.before()
            case.path.write_bytes(mutated)
            _try(case, f"mutation {index} of seed {seed} ({mutator.__name__})", outcome)
    finally:
        case.before()
        case.path.write_bytes(original)
        case.after()
    return outcome


def mutation(case: Case, original: bytes, seed: int, index: int) -> tuple[Mutator, bytes]:
    """The mutation of a number; the same every time."""
    rng = Random(f"{seed} {case.path.name} {index}")
    mutator = rng.choice(case.mutators)
    return mutator, mutator(original, rng)


def _try(case: Case, name: str, outcome: Outcome) -> None:
    outcome.tried += 1
    before, start = _memory(), time.process_time()
    try:
        with _limits():
            case.after()
            kind = observe(case.read)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        kind = "".join(traceback.format_exception(error)[-6:])
        outcome.failed += 1
        outcome.failures.setdefault(_where(error), f"{name}\n{kind}")
    else:
        if kind is None:
            outcome.accepted += 1
        else:
            outcome.refused[kind] += 1
    took = time.process_time() - start
    outcome.seconds, outcome.slowest_s = outcome.seconds + took, max(outcome.slowest_s, took)
    outcome.most_bytes = max(outcome.most_bytes, _memory(peak=True) - before)


def observe(read: Callable[[], object]) -> str | None:
    """Run what reads a file: the kind of the error that a user gets, or None.

    Raises:
        BaseException: anything that a user should not get.
    """
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            read()
        except BertEdgeError as error:
            lines = f"{error.message}\n{error.hint}".splitlines()
            assert len(lines) == 2, f"an error of {len(lines)} lines: {lines}"
            assert all(map(str.strip, lines)), f"an empty line: {lines}"
            return type(error).__name__
        except (SystemExit, typer.Exit) as end:
            code = end.exit_code if isinstance(end, typer.Exit) else end.code
            if code not in EXIT_CODES:
                raise
            return f"exit {code}" if code else None
    text = out.getvalue() + err.getvalue()
    assert text == printable(text), f"raw control characters: {UNPRINTABLE.search(text)}"
    assert not (digits := LONG_NUMBER.search(text)), f"a number too long to read: {digits}"
    return None


def _where(error: BaseException) -> str:
    """The kind of an error and the last line of ours that it came through."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/bertedge/" in frame.filename.replace("\\", "/")]
    last = (ours or frames)[-1]
    return f"{type(error).__name__} in {Path(last.filename).name}:{last.lineno} {last.name}"


@contextmanager
def _limits() -> Iterator[None]:
    """Stop what takes too long or too much memory, where the system can."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Endless(f"no end after {MOST_SECONDS} s")

    if sys.platform != "linux":
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    before = [signal.signal(number, stop) for number in (signal.SIGPROF, signal.SIGALRM)]
    _forget_peak()
    resource.setrlimit(resource.RLIMIT_AS, (_status("VmSize") + MOST_BYTES, hard))
    signal.setitimer(signal.ITIMER_PROF, MOST_SECONDS)
    signal.setitimer(signal.ITIMER_REAL, MOST_BY_CLOCK)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        for number, handler in zip((signal.SIGPROF, signal.SIGALRM), before, strict=True):
            signal.signal(number, handler)


def _memory(*, peak: bool = False) -> int:
    """Bytes of this process now, or at most since :func:`_forget_peak`."""
    return _status("VmHWM" if peak else "VmRSS") if sys.platform == "linux" else 0


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
