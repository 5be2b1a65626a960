"""Peers on a classifier and on an embedder: time of single calls, of many sentences, and how far answers differ."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bertedge.checkpoint import open_checkpoint
from bertedge.data.batches import Layout
from bertedge.data.corpus import tokenize_corpus
from bertedge.evaluate.latency import Workload, workload_batch
from peers.client import Process
from peers.measure import PASS_S, PASSES, Comparison, Result, Settings
from peers.models import Model, Texts, without_masks
from peers.protocol import Vectors, Work
from peers.table import PEERS, REFERENCES

LENGTHS = (16, 32, 64, 128)


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is compared: a checkpoint, its work, and its texts."""

    model: Model
    work: Work
    texts: Texts


def task_of(folder: str, work: Work, text: Path, *, name: str, sentences: int) -> Task:
    """A checkpoint with batches of single texts, and with sentences of a text; repeated if there are too few."""
    checkpoint = open_checkpoint(folder)
    if checkpoint.folder is None:
        raise SystemExit(f"{name}: is no folder on this machine")
    model = Model(name=name, folder=checkpoint.folder.resolve(), real=True, checkpoint=checkpoint)
    tokenizer = checkpoint.tokenizer
    corpus, layout = tokenize_corpus(text, tokenizer), Layout.of(tokenizer, checkpoint.config.vocab_size)
    workloads = {
        f"{length} tokens": without_masks(workload_batch(Workload(batch_size=1, seq_len=length), corpus, layout))
        for length in LENGTHS
        if length <= tokenizer.max_length
    }
    lines = [line for line in text.read_text(encoding="utf-8").splitlines() if line.strip()]
    many = np.resize(np.array(lines, dtype=object), sentences).tolist()
    return Task(model=model, work=work, texts=Texts(workloads=workloads, evaluation=[], sentences=many))


class TaskComparison(Comparison):
    """The peers of a classifier or of an embedder."""

    def __init__(self, task: Task, peers: list[str], settings: Settings) -> None:
        super().__init__(task.model, task.texts, peers, settings)
        self.work, self.reference = task.work, REFERENCES[task.work]

    def run(self) -> dict[str, Result]:
        self.prepare(self.work)
        self.start()
        with self._loaded(self.work) as live:
            self.time(live, self.texts.workloads)
            self.compare_answers(live)
            if self.work == "embedding":
                self.embed_all(live)
        return self.results

    def compare_answers(self, live: dict[str, Process]) -> None:
        """Labels or vectors of all texts, compared with the reference's."""
        expected: Vectors | None = None
        for name in sorted(live, key=lambda name: name != self.reference):
            with self._trying(self.results[name], "answers"):
                found = self._answers(live[name])
                expected = found if name == self.reference else expected
                if expected is not None:
                    self.results[name].agreement = round(_agreement(self.work, expected, found), 5)

    def _answers(self, process: Process) -> Vectors:
        (self.settings.scratch / "sentences.txt").write_text("\n".join(self.texts.sentences), encoding="utf-8")
        output = self.settings.scratch / "answers.npy"
        process.ask(
            "many",
            texts=str(self.settings.scratch / "sentences.txt"),
            tokenizer=str(self.model.folder),
            usual=False,
            callers=1,
            output=str(output),
        )
        return np.load(output)

    def embed_all(self, live: dict[str, Process]) -> None:
        """All sentences by each library's own call, peer by peer in every round."""
        output = self.settings.scratch / "vectors.npy"
        texts = str(self.settings.scratch / "sentences.txt")
        peers = [name for name in live if PEERS[name].reads_texts]
        done = dict.fromkeys(peers, 0.0)
        for _ in range(PASSES):
            for name in peers:
                if done[name] > PASS_S:
                    continue
                with self._trying(self.results[name], "sentences"):
                    seconds = live[name].ask("answers", texts=texts, output=str(output))["seconds"]
                    done[name] += seconds
                    self.results[name].many.setdefault("fastest", []).append(round(seconds, 4))


def _agreement(work: Work, expected: Vectors, found: Vectors) -> float:
    """Of labels, the share that is equal; of vectors, the mean cosine."""
    if work == "labels":
        return float((expected.argmax(axis=1) == found.argmax(axis=1)).mean())
    lengths = np.linalg.norm(expected, axis=1) * np.linalg.norm(found, axis=1)
    return float(((expected * found).sum(axis=1) / lengths).mean())
