"""The texts of a run: built-in or running text, and the user's own texts of the model's task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bertedge.benchmark.bench_settings import BenchSettings
from bertedge.data.batches import Layout, next_sentence_classes
from bertedge.data.calibration import default_text
from bertedge.data.corpus import TokenizedCorpus, tokenize_corpus
from bertedge.data.examples import columns_in_words
from bertedge.data.task_batches import labelled_share
from bertedge.data.task_text import TaskText, read_task_text
from bertedge.data.text_files import text_sha256
from bertedge.evaluate.fidelity import LABELLED, OWN_TEXTS, UNLABELLED, Kind, evaluation_batches, kinds_of_texts
from bertedge.heads import Head
from bertedge.heads.parts import Parts
from bertedge.predictor import Batch
from bertedge.report.schema import CorpusInfo
from bertedge.runtime import BertRuntime

#: Texts to compare on by default: of running text; of the user's own texts, from which they are drawn at random.
EXAMPLES, OWN_EXAMPLES = 256, 5000


@dataclass(frozen=True, kw_only=True)
class TextFiles:
    """The files that texts come from.

    Attributes:
        corpus: running text; None for the built-in text.
        data: a file of texts of the model's task, with or without labels.
        columns: the columns of ``data`` that hold texts; see :func:`bertedge.data.examples.read_examples`.
    """

    corpus: Path | None = None
    data: Path | None = None
    columns: Sequence[str] = ()

    @property
    def running(self) -> Path:
        """The file of running text."""
        return self.corpus or default_text()

    @property
    def main(self) -> Path:
        """The file that the main numbers are measured on."""
        return self.data or self.running


class BenchTexts:
    """The texts of each kind to compare outputs on, and the text that calls are timed on.

    Attributes:
        corpus: running text.
        kinds: the kinds of texts, the main kind first.
    """

    def __init__(self, files: TextFiles, model: BertRuntime, settings: BenchSettings) -> None:
        self._files, self._settings = files, settings
        self.tokenizer, config = model.tokenizer, model.bundle.config
        self.parts: Parts = model.bundle.manifest.parts
        self.longest = config.max_length
        self.corpus: TokenizedCorpus = tokenize_corpus(files.running, self.tokenizer)
        how = {"masks": self.parts.reads_masked, "hidden": self.parts.reads_every}
        self.layout = Layout.of(self.tokenizer, config.vocab_size, **how)
        of_corpus = kinds_of_texts(self.parts, self.corpus)
        self.kinds: tuple[Kind, ...] = of_corpus
        self.samples: dict[Kind, list[Batch]] = {}
        if files.data is not None:
            batches = self._own_batches(files.data)
            own = LABELLED if labelled_share(batches) else UNLABELLED
            self.samples[own] = batches
            self.kinds = (own, *(of_corpus if self.parts.learns_from_text else ()))
        self.samples |= {kind: self._drawn(kind) for kind in self.kinds if kind not in self.samples}

    @property
    def main(self) -> list[Batch]:
        """The texts of the main kind."""
        return self.samples[self.kinds[0]]

    @property
    def are_own(self) -> bool:
        """Whether the texts of the main kind are the user's own, which are not cut to any length."""
        return self.kinds[0] in OWN_TEXTS

    @property
    def max_length(self) -> int:
        """The most tokens of a text of the main kind."""
        if self.are_own:
            return max(int(batch.lengths.max()) for batch in self.main)
        return min(self._settings.max_length, self.longest)

    @cached_property
    def info(self) -> CorpusInfo:
        """What the report says about them."""
        data, columns = self._files.data, self._files.columns
        return CorpusInfo(
            name=self._files.main.name,
            sha256=text_sha256(self._files.main),
            examples=sum(len(batch.input_ids) for batch in self.main),
            max_length=self.max_length,
            seed=self._settings.seed,
            next_sentence=any(next_sentence_classes(batches) for batches in self.samples.values()),
            kind=self.kinds[0],
            labelled=labelled_share(self.main) if self.are_own else None,
            columns=None if data is None else columns_in_words(data, columns=columns),
        )

    def why_not(self, head: Head) -> str | None:
        """Why a head cannot be measured on these texts; None if it can."""
        if head.reads != "pair":
            return None
        if head.task is None:  # it judges pairs of any kind
            paired = any(batch.second is not None and batch.second.any() for batch in self.main)
            return None if paired else f"{self._files.main.name} holds single texts, not pairs"
        if self.info.next_sentence:
            return None
        name, reason = self._files.running.name, self.corpus.why_no_pairs
        if reason is None:
            return f"the pairs of {name} are all of one kind, next or random; give more or longer texts"
        return f"{name} {reason}; next sentences need documents of several sentences between blank lines"

    def _drawn(self, kind: Kind) -> list[Batch]:
        return evaluation_batches(
            self.corpus,
            self.layout,
            examples=self._settings.examples or EXAMPLES,
            max_length=min(self._settings.max_length, self.longest),
            seed=self._settings.seed,
            kind=kind,
        )

    def _own_batches(self, data: Path) -> list[Batch]:
        """The user's own texts. They are masked only if the model does nothing but fill in words."""
        text: TaskText = read_task_text(
            data, self.tokenizer, self.parts, vocab_size=self.layout.vocab_size, columns=self._files.columns
        )
        draw = text.masked if self.parts.reads_masked and not self.parts.needs_labels else text.labelled
        return draw(self._settings.examples or OWN_EXAMPLES, seed=self._settings.seed)
