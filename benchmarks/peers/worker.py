"""The process of one peer: it reads requests, one JSON object a line, and answers each with one.

Started by :mod:`peers.client`. So crashes, memory and threads of a peer do not affect the others, and rounds can still
go from peer to peer: each process holds its loaded model and times a block of calls on request.
"""

from __future__ import annotations

import time

STARTED = time.perf_counter()  # before anything else is imported: cold start counts imports

import json  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402

from bertedge.predictor import Batch  # noqa: E402
from peers.protocol import Run, peak_rss_bytes  # noqa: E402
from peers.table import PEERS  # noqa: E402

#: Calls of this many seconds or more are timed one by one.
LONG_S = 0.3
#: Untimed calls at the start: their number, and seconds after which none is added.
SETTLE_CALLS, SETTLE_S = 26, 2.0
#: After a block the threads of a library may keep spinning. The next peer starts when they use less than a tenth of a
#: core, or after a second.
QUIET_SHARE, QUIET_STEP_S, QUIET_LIMIT_S = 0.1, 0.02, 1.0
BATCH_ROWS = 32


class Worker:
    """What was loaded, and the answers."""

    def __init__(self, name: str) -> None:
        self.row = PEERS[name]
        self.peer = self.row.peer()
        self.run: Run | None = None
        self.batch: Batch | None = None
        self.call_s = 0.0
        self.least_calls, self.least_s = 1, 0.0

    def prepare(self, *, checkpoint: str, calibration: str, folder: str, work: str) -> dict[str, Any]:
        """Make the artefact; seconds count from the start of the process, imports included."""
        files = self.peer.prepare(Path(checkpoint), Path(calibration), Path(folder), work)  # type: ignore[arg-type]
        seconds = time.perf_counter() - STARTED
        from importlib.metadata import version

        return {
            "files": [str(path) for path in files],
            "size_bytes": sum(path.stat().st_size for path in files),
            "seconds": seconds,
            "peak_rss_bytes": peak_rss_bytes(),
            "versions": {package: version(package) for package in self.row.packages},
        }

    def load(self, *, files: list[str], work: str, threads: int, callers: int = 1) -> dict[str, Any]:
        """Load the artefact."""
        self.run = self.peer.load([Path(f) for f in files], work, threads, callers)  # type: ignore[arg-type]
        return {}

    def choose(self, *, batch: str) -> dict[str, Any]:
        """What the following calls run, and some untimed calls of it; answers with the seconds of a block of them."""
        from bertedge.evaluate.latency import BLOCK_CALLS, BLOCK_S  # here: a cold start imports what a user imports

        self.batch = read_batch(batch)
        start, calls = time.perf_counter(), 0
        while calls < 2 or (calls < SETTLE_CALLS and time.perf_counter() - start < SETTLE_S):
            before = time.perf_counter()
            self.run(self.batch)
            calls += 1
        self.call_s = time.perf_counter() - before
        self.least_calls, self.least_s = (1, 0.0) if self.call_s >= LONG_S else (BLOCK_CALLS, BLOCK_S)
        return {"block_s": self.call_s + max(self.least_calls * self.call_s, self.least_s), **_quiet()}

    def block(self) -> dict[str, Any]:
        """An untimed call, then calls as in a block of ``bertedge bench``: milliseconds of each.

        A long call fills the caches itself, so it is timed without a call before it, and only once.
        """
        if self.call_s < LONG_S:
            self.run(self.batch)
        stamps = [time.perf_counter()]
        while len(stamps) <= self.least_calls or stamps[-1] - stamps[0] < self.least_s:
            self.run(self.batch)
            stamps.append(time.perf_counter())
        return {"calls_ms": (1e3 * np.diff(stamps)).tolist(), **_quiet()}

    def predict(self, *, batch: str, output: str) -> dict[str, Any]:
        """Both heads' logits, written to a file."""
        found = self.run(read_batch(batch))
        np.savez(output, **found.logits)
        return {}

    def cold(self, *, batch: str) -> dict[str, Any]:
        """One call; the time since the process began, and the memory that it took."""
        self.run(read_batch(batch))
        return {"cold_start_ms": 1e3 * (time.perf_counter() - STARTED), "peak_rss_bytes": peak_rss_bytes()}

    def many(self, *, texts: str, tokenizer: str, usual: bool, callers: int, output: str) -> dict[str, Any]:
        """All texts as fast as possible, tokenization included: the mean state of each, written to a file."""
        from bertedge.tokenizer import Tokenizer

        encoder, lines = Tokenizer.load(Path(tokenizer)), Path(texts).read_text(encoding="utf-8").splitlines()
        start = time.perf_counter()
        vectors = _vectors(self.run, encoder, lines, self._order(usual), callers)
        seconds = time.perf_counter() - start
        np.save(output, vectors)
        return {"seconds": seconds, **_quiet()}

    def answers(self, *, texts: str, output: str) -> dict[str, Any]:
        """The peer's own call for a list of plain texts; what it returned is written to a file."""
        lines = Path(texts).read_text(encoding="utf-8").splitlines()
        start = time.perf_counter()
        found = self.run(lines)
        seconds = time.perf_counter() - start
        np.save(output, found)
        return {"seconds": seconds, **_quiet()}

    def _order(self, usual: bool) -> tuple[bool, int]:
        """(whether texts are sorted by length, texts in a batch)."""
        if usual:
            return False, BATCH_ROWS
        return (False, sys.maxsize) if self.row.batches_itself else (True, BATCH_ROWS)


def _vectors(run: Run, encoder: Any, lines: list[str], order: tuple[bool, int], callers: int) -> np.ndarray:
    from bertedge.engines.side_by_side import side_by_side

    in_order, size = order
    encodings = [encoding.input_ids for encoding in encoder.encode_many(lines)]
    places = sorted(range(len(lines)), key=lambda i: -len(encodings[i])) if in_order else list(range(len(lines)))
    groups = [places[start : start + size] for start in range(0, len(places), size)]
    found: list[Any] = [None] * len(lines)

    def work(group: list[int]) -> Any:
        return run(padded([encodings[i] for i in group], encoder.id_of("pad")))

    pairs = side_by_side(work, groups, threads=callers) if callers > 1 else ((group, work(group)) for group in groups)
    for group, vectors in pairs:
        for place, vector in zip(group, vectors, strict=True):
            found[place] = vector
    return np.stack(found)


def padded(encodings: list[list[int]], pad: int) -> Batch:
    """Single texts, padded to the longest."""
    width = max(len(ids) for ids in encodings)
    input_ids = np.array([ids + [pad] * (width - len(ids)) for ids in encodings], dtype=np.int64)
    lengths = np.array([len(ids) for ids in encodings])
    nothing = np.zeros((len(encodings), 0), dtype=np.int64)
    return Batch(
        input_ids=input_ids,
        attention_mask=(np.arange(width) < lengths[:, None]).astype(np.int64),
        token_type_ids=np.zeros_like(input_ids),
        masked_positions=nothing,
        labels={"mlm": nothing, "nsp": np.full(len(encodings), -1)},
    )


def read_batch(path: str) -> Batch:
    """A batch that :func:`peers.client.write_batch` wrote."""
    with np.load(path) as stored:
        return Batch.of(dict(stored))


def _quiet() -> dict[str, float]:
    """Wait until the threads of this process are idle; returns how long that took."""
    start = time.perf_counter()
    while time.perf_counter() - start < QUIET_LIMIT_S:
        before, used = time.perf_counter(), time.process_time()
        time.sleep(QUIET_STEP_S)
        if time.process_time() - used < QUIET_SHARE * (time.perf_counter() - before):
            break
    return {"quiet_after_s": time.perf_counter() - start}


def main() -> None:
    """Answer requests until there are no more."""
    # output of libraries goes to stderr; only answers go to the real stdout
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    worker: Worker | None = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            worker = worker or Worker(sys.argv[1])
            verb: Callable[..., dict[str, Any]] = getattr(worker, request.pop("do"))
            answer = verb(**request)
        except Exception as error:
            words = str(error).strip().splitlines() or [""]
            answer = {"error": f"{type(error).__name__}: {words[0]}"}
        print(json.dumps(answer), file=answers, flush=True)
    answers.flush()
    os._exit(0)  # threads of some libraries crash at exit


if __name__ == "__main__":
    main()
