"""Measure all peers on one model: the results of every step, or the reason why a peer has none."""

from __future__ import annotations

import contextlib
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bertedge.evaluate.fidelity import measure_fidelity
from bertedge.evaluate.latency import UNDISTURBED
from bertedge.predictor import Batch, Outputs, Predictor
from bertedge.records import to_json
from peers.client import PeerFailed, Process, write_batch
from peers.models import THROUGHPUT_LIMIT, Model, Texts
from peers.protocol import Work
from peers.table import PEERS, REFERENCE

#: Fewer rounds give no useful interval.
MIN_ROUNDS = 5
#: Cold starts and passes over all sentences: their number, and seconds after which none is added.
STARTS, STARTS_S = 3, 4.0
PASSES, PASS_S = 5, 30.0
STRATEGIES = ("usual", "fastest")
#: "fastest" of peers that batch by themselves, measured in the rounds of "usual" to be compared with it.
FASTEST_WITH_USUAL = "fastest beside usual"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How much to measure.

    Attributes:
        rounds: timed rounds of each workload at most.
        budget_s: seconds for the rounds of one workload; at least ``MIN_ROUNDS`` are made.
    """

    threads: int
    rounds: int
    budget_s: float
    calibration: Path
    scratch: Path


@dataclass(kw_only=True)
class Result:
    """The results of one peer on one model; times in ms per call, blocks round by round.

    Attributes:
        made: kind of work -> size, seconds, peak memory, versions.
        blocks: workload -> what a call took in each round's block, as ``bertedge bench`` computes it.
        calls: workload -> median of all calls.
        many: strategy, or ``FASTEST_WITH_USUAL`` -> seconds of each pass over all sentences.
        cosine: strategy -> smallest cosine of a sentence's vector with the reference's.
        agreement: of a classifier, the share of texts with the reference's label; of an embedder, the mean cosine.
        failed: step -> reason.
    """

    made: dict[str, dict[str, Any]] = field(default_factory=dict)
    cold: dict[str, float] = field(default_factory=dict)
    blocks: dict[str, list[float]] = field(default_factory=dict)
    calls: dict[str, float] = field(default_factory=dict)
    fidelity: dict[str, dict[str, float]] = field(default_factory=dict)
    many: dict[str, list[float]] = field(default_factory=dict)
    cosine: dict[str, float] = field(default_factory=dict)
    agreement: float | None = None
    failed: dict[str, str] = field(default_factory=dict)


class Comparison:
    """The peers of one model; call the steps in their order.

    Attributes:
        work: what is timed call by call.
    """

    work: Work = "words"

    def __init__(self, model: Model, texts: Texts, peers: list[str], settings: Settings) -> None:
        self.model, self.texts, self.settings = model, texts, settings
        self.results = {name: Result() for name in peers}
        self._vectors: np.ndarray | None = None
        self._folder = settings.scratch / "artefacts" / model.name
        self._say = lambda words: print(f"{model.name}: {words}", file=sys.stderr, flush=True)

    def run(self) -> dict[str, Result]:
        """Everything."""
        for work in ("words", "vectors"):
            self.prepare(work)
        self.start()
        with self._loaded("words") as live:
            self.time(live, self.texts.workloads)
            if self.model.real and self.texts.evaluation:
                self.compare_outputs(live)
        with self._loaded("vectors") as live:
            self.time(live, self.texts.to_vectors)
        if self.texts.sentences and self.model.checkpoint.config.block_macs <= THROUGHPUT_LIMIT:
            for strategy in STRATEGIES:
                self.go_through(strategy)
        return self.results

    def prepare(self, work: str) -> None:
        """Make every artefact, each in a fresh process, unless the row runs one that is there."""
        for name, result in self.results.items():
            if PEERS[name].one_file and result.made:
                result.made[work] = next(iter(result.made.values()))
                continue
            owner = self.results.get(PEERS[name].file_of)
            if owner is not None:
                if work in owner.made:
                    result.made[work] = owner.made[work]
                else:
                    result.failed[f"make, {work}"] = owner.failed[f"make, {work}"]
                continue
            self._say(f"making {name} for {work}")
            folder = self._folder / f"{work}-{list(self.results).index(name)}"
            folder.mkdir(parents=True)
            with self._trying(result, f"make, {work}"), Process(name, self.settings.scratch) as process:
                result.made[work] = process.ask(
                    "prepare",
                    checkpoint=str(self.model.folder),
                    calibration=str(self.settings.calibration),
                    folder=str(folder),
                    work=work,
                )

    def start(self) -> None:
        """Fresh processes: imports, load, the first workload once."""
        batch = write_batch(self.settings.scratch / "first.npz", next(iter(self.texts.workloads.values())))
        for name, result in self._made(self.work):
            self._say(f"starting {name}")
            seen: list[dict[str, float]] = []
            with self._trying(result, "start"):
                while len(seen) < STARTS and sum(one["cold_start_ms"] for one in seen) < 1e3 * STARTS_S:
                    with Process(name, self.settings.scratch) as process:
                        self._load(process, result, self.work)
                        seen.append(process.ask("cold", batch=str(batch)))
                result.cold = {
                    "cold_start_ms": statistics.median(one["cold_start_ms"] for one in seen),
                    "peak_rss_bytes": max(one["peak_rss_bytes"] for one in seen),
                    "starts": len(seen),
                }

    def time(self, live: dict[str, Process], workloads: dict[str, Batch]) -> None:
        """Rounds over all peers, each in a new random order, workload by workload."""
        rng = np.random.default_rng(0)
        for workload, batch in workloads.items():
            path = str(write_batch(self.settings.scratch / "workload.npz", batch))
            cost, ready = 0.0, []
            for name, process in live.items():
                with self._trying(self.results[name], workload):
                    cost += process.ask("choose", batch=path)["block_s"] + 0.05
                    ready.append(name)
            rounds = int(np.clip(self.settings.budget_s / max(cost, 1e-3), MIN_ROUNDS, self.settings.rounds))
            self._say(f"{workload}, {rounds} rounds of {cost:.1f} s")
            calls: dict[str, list[np.ndarray]] = {name: [] for name in ready}
            for _ in range(rounds):
                for name in rng.permutation(list(calls)):
                    with self._trying(self.results[name], workload):
                        calls[name].append(np.array(live[name].ask("block")["calls_ms"]))
            for name, blocks in calls.items():
                if len(blocks) == rounds:
                    self.results[name].blocks[workload] = [
                        round(float(np.quantile(block, UNDISTURBED)), 4) for block in blocks
                    ]
                    self.results[name].calls[workload] = round(float(np.median(np.concatenate(blocks))), 4)

    def compare_outputs(self, live: dict[str, Process]) -> None:
        """Fidelity of all others to PyTorch's float32, on the same pairs."""
        if REFERENCE not in live:
            for result in self.results.values():
                result.failed.setdefault("fidelity", f"{REFERENCE} did not run")
            return
        reference = Remembered(live[REFERENCE])
        for name, process in live.items():
            if name == REFERENCE:
                continue
            self._say(f"outputs of {name}")
            with self._trying(self.results[name], "fidelity"):
                (seen,) = measure_fidelity(reference, [process], self.texts.evaluation)
                self.results[name].fidelity = to_json(seen)

    def go_through(self, strategy: str) -> None:
        """All sentences to vectors, peer by peer in every round; a peer that has taken too long drops out."""
        (self.settings.scratch / "sentences.txt").write_text("\n".join(self.texts.sentences), encoding="utf-8")
        usual = strategy == "usual"
        with self._loaded("vectors", alone=not usual) as live:
            done: dict[str, float] = dict.fromkeys(live, 0.0)
            for _ in range(PASSES):
                for name, process in live.items():
                    if done[name] > PASS_S:
                        continue
                    self._say(f"{len(self.texts.sentences)} sentences, {strategy}: {name}")
                    with self._trying(self.results[name], f"sentences, {strategy}"):
                        done[name] += self._pass(name, process, strategy, usual=usual)
                        if usual and PEERS[name].batches_itself:
                            self._pass(name, process, FASTEST_WITH_USUAL, usual=False)

    def _pass(self, name: str, process: Process, kept_as: str, *, usual: bool) -> float:
        """All sentences once: the seconds that it took."""
        output = self.settings.scratch / "vectors.npy"
        answer = process.ask(
            "many",
            texts=str(self.settings.scratch / "sentences.txt"),
            tokenizer=str(self.model.folder),
            usual=usual,
            callers=self._callers(name, alone=not usual),
            output=str(output),
        )
        self.results[name].many.setdefault(kept_as, []).append(round(answer["seconds"], 4))
        self._compare_vectors(name, kept_as, np.load(output))
        return answer["seconds"]

    def _compare_vectors(self, name: str, strategy: str, vectors: np.ndarray) -> None:
        if self._vectors is None and name == REFERENCE:
            self._vectors = vectors
        if self._vectors is not None:
            lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(self._vectors, axis=1)
            cosines = (vectors * self._vectors).sum(axis=1) / lengths
            self.results[name].cosine[strategy] = round(float(cosines.min()), 5)

    def _callers(self, name: str, *, alone: bool) -> int:
        return self.settings.threads if alone and not PEERS[name].batches_itself else 1

    @contextlib.contextmanager
    def _loaded(self, work: str, *, alone: bool = False) -> Iterator[dict[str, Process]]:
        """A process with a loaded model for every peer that can; with ``alone``, several callers of one thread each."""
        with contextlib.ExitStack() as stack:
            live: dict[str, Process] = {}
            for name, result in self._made(work):
                with self._trying(result, f"load, {work}"):
                    process = stack.enter_context(Process(name, self.settings.scratch))
                    self._load(process, result, work, callers=self._callers(name, alone=alone))
                    live[name] = process
            yield live

    def _load(self, process: Process, result: Result, work: str, callers: int = 1) -> None:
        threads = self.settings.threads // callers
        process.ask("load", files=result.made[work]["files"], work=work, threads=threads, callers=callers)

    def _made(self, work: str) -> Iterator[tuple[str, Result]]:
        return ((name, result) for name, result in self.results.items() if work in result.made)

    @contextlib.contextmanager
    def _trying(self, result: Result, step: str) -> Iterator[None]:
        try:
            yield
        except PeerFailed as error:
            result.failed[step] = str(error)
            self._say(f"{step}: {error}")


class Remembered:
    """A predictor that runs each batch only once. Batches with the same content are the same."""

    def __init__(self, process: Predictor) -> None:
        self.name, self._process = process.name, process
        self._outputs: dict[bytes, Outputs] = {}

    def predict(self, batch: Batch) -> Outputs:
        content = b"".join(str(array.shape).encode() + array.tobytes() for array in batch.arrays().values())
        if content not in self._outputs:
            self._outputs[content] = self._process.predict(batch)
        return self._outputs[content]
