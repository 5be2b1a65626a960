"""The embedded runtime: text in, words, judgements and vectors out."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from bertedge.bundle import Bundle
from bertedge.encoding import Encoding
from bertedge.engines import AUTO, ENGINES, Engine, choose_engine
from bertedge.engines.threads import checked_threads
from bertedge.errors import BundleError, UsageError
from bertedge.predictor import Batch, Outputs, Predictor, Row
from bertedge.probabilities import softmax, top_indices
from bertedge.runtime.row_runner import RowRunner
from bertedge.runtime.text_vectors import TextVectors, row_of
from bertedge.target import warn_if_less_accurate
from bertedge.texts import Pair, pairs_of, texts_of

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Fill:
    """One proposal for a ``[MASK]``: the token, its probability, its id."""

    token: str
    probability: float
    token_id: int


#: The proposals for every ``[MASK]`` of one text, best first.
Fills = list[list[Fill]]


def load(
    bundle: str | Path,
    *,
    engine: str = AUTO,
    threads: int | None = None,
    check: bool = True,
    allow_any_cpu: bool = False,
) -> BertRuntime:
    """Open a bundle and load its model.

    Args:
        engine: a name in :data:`bertedge.engines.ENGINES`; ``auto`` takes the fastest one that is correct here.
        threads: threads an operator may use; default: one for each core that this process may use.
        check: compare the files with the manifest's hashes, which takes most of the time of loading a large bundle.
        allow_any_cpu: run even where results would be wrong on this CPU.

    Raises:
        BundleError: the bundle is incomplete or altered.
        UsageError: an unknown engine, fewer than one thread, or far more than the machine has CPUs.
        UnfitMachineError: no engine, or not the one that was asked for, is correct on this CPU.

    Warns:
        TargetWarning: the bundle is correct here, but less accurate than one for this CPU would be.
    """
    threads = checked_threads(threads)
    opened = Bundle.open(bundle, check=check)
    chosen = choose_engine(engine, opened.manifest, allow_any_cpu=allow_any_cpu)
    if opened.manifest.may_overflow and not allow_any_cpu:
        warn_if_less_accurate(opened.manifest.target, stacklevel=2)
    runtime = BertRuntime(opened, engine=chosen, threads=threads, check=check, allow_any_cpu=allow_any_cpu)
    _log.info("loaded %s: target %s, %d threads, %s", bundle, opened.manifest.target, threads, chosen.describe())
    return runtime


class BertRuntime(TextVectors):
    """A loaded bundle. Results depend neither on the other texts of a call nor on any padding; see :func:`load`.

    Many texts are best given in one list: texts of equal length run together, unpadded, and each core takes one such
    group after the other. Then the weights are in memory twice, unless ``threads`` is 1.

    It can be pickled, copied and forked: each process opens the bundle's folder again, with the same checks.

    Args:
        check, allow_any_cpu: as for :func:`load`, where another process opens the bundle again.
    """

    def __init__(
        self, bundle: Bundle, *, engine: Engine, threads: int, check: bool = True, allow_any_cpu: bool = False
    ) -> None:
        self.bundle = bundle
        self.engine = engine
        self.threads = threads
        self.name = bundle.name
        self.tokenizer = bundle.tokenizer
        self._check, self._allow_any_cpu = check, allow_any_cpu
        self._absolute_folder = bundle.folder.absolute()  # a process that opens it again may have another directory
        self.runner = RowRunner(
            name=bundle.name,
            executor=engine.open(bundle, threads=threads, check=check),
            config=bundle.config,
            row_independent=bundle.manifest.row_independent,
        )

    def __repr__(self) -> str:
        heads = ", ".join(self.bundle.manifest.heads)
        return (
            f"BertRuntime({str(self.bundle.folder)!r}, dimension={self.dimension}, max_length={self.max_length}, "
            f"heads={heads!r}, engine={self.engine.name!r}, threads={self.threads})"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        if ENGINES.get(self.engine.name) is not self.engine:
            raise UsageError(
                f"{self.name}: a runtime on the engine {self.engine.name!r} cannot be pickled or copied",
                "make one in each process; a runtime made by bertedge.load can be pickled",
            )
        how = {
            "engine": self.engine.name,
            "threads": self.threads,
            "check": self._check,
            "allow_any_cpu": self._allow_any_cpu,
        }
        return _reopened, (str(self._absolute_folder), self.bundle.model_sha256, how)

    def predict(self, batch: Batch) -> Outputs:
        """Both heads on an encoded batch; see :class:`bertedge.predictor.Predictor`."""
        return self.runner.predict(batch)

    def padded(self) -> Predictor:
        """The same file in plain onnxruntime, with padding; opens a second session."""
        from bertedge.engines.onnxruntime.padded import PaddedPredictor

        return PaddedPredictor(replace(self.bundle, folder=self._absolute_folder), threads=self.threads)

    @overload  # a string is an iterable of strings too, but the first case
    def fill_mask(self, texts: str, *, top_k: int = 5) -> Fills: ...  # type: ignore[overload-overlap]
    @overload
    def fill_mask(self, texts: Iterable[str], *, top_k: int = 5) -> list[Fills]: ...
    def fill_mask(self, texts: str | Iterable[str], *, top_k: int = 5) -> Fills | list[Fills]:
        """The most probable tokens for every ``[MASK]``; ids that the tokenizer has no token for are left out.

        Args:
            texts: one text, or several: a list, an array, a column of a table, a generator.

        Returns:
            For one text a list with, for each ``[MASK]``, ``top_k`` proposals; for several texts a list of those.

        Raises:
            UsageError: a text has no ``[MASK]``, or lost one to truncation; or an item is no text. The message names
                its index.

        Warns:
            TruncationWarning: texts were too long.
            UnknownTextWarning: texts consist of unknown words.
        """
        self._require("mlm")
        if isinstance(texts, str):
            return self.fill_mask([texts], top_k=top_k)[0]
        if top_k < 1:
            raise UsageError(f"top_k is {top_k}, expected at least 1", "ask for one proposal or more")
        several = texts_of(texts, "fill_mask: expected a text or a list of texts")
        encodings = self.tokenizer.encode_many(several)
        rows = [self._masked_row(several, encoding, index) for index, encoding in enumerate(encodings)]
        return self.runner.run(rows, lambda result: self._fills(result["mlm"], top_k))

    @overload
    def next_sentence(self, first: str, second: str) -> float: ...
    @overload
    def next_sentence(self, first: Iterable[Pair]) -> list[float]: ...
    def next_sentence(self, first: str | Iterable[Pair], second: str | None = None) -> float | list[float]:
        """The probability that the second text follows the first, for one pair or for several.

        Args:
            first: a text; or pairs of texts: a list, an array of two columns, ``zip(a, b)``, a generator.
            second: the text that may follow, where ``first`` is a text.

        Raises:
            UsageError: an item is no pair of texts; the message names its index.

        Warns:
            TruncationWarning: pairs were too long.
            UnknownTextWarning: pairs have a half of unknown words.
        """
        self._require("nsp")
        if isinstance(first, str):
            if second is None:
                raise UsageError("next_sentence: the second sentence is missing", "give two texts, or a list of pairs")
            return self.next_sentence([(first, second)])[0]
        expected = "next_sentence: expected two texts, or a list of pairs"
        if second is not None:
            raise UsageError(expected, 'for instance [("One.", "Two.")]; of two lists make pairs with zip')
        rows = [row_of(encoding) for encoding in self.tokenizer.encode_many(pairs_of(first, expected))]
        return self.runner.run(rows, lambda result: float(softmax(result["nsp"])[0]))

    def _masked_row(self, texts: Sequence[str], encoding: Encoding, index: int) -> Row:
        ids = np.asarray(encoding.input_ids, dtype=np.int64)
        positions = np.flatnonzero(ids == self.tokenizer.id_of("mask")).astype(np.int64)
        text, mask = texts[index], self.tokenizer.mask_token
        where = "" if len(texts) == 1 else f" (index {index})"
        if len(positions) != text.count(mask) and encoding.truncated:
            message = f"a {mask} is beyond the {len(ids)} tokens that the model reads{where}"
            raise UsageError(message, "shorten the text")
        if not len(positions):
            raise UsageError(f"no {mask} in {text[:60]!r}{where}", f"write {mask} where a word is to be filled in")
        return row_of(encoding, masked_positions=positions)

    @cached_property
    def _tokens(self) -> NDArray[np.int64] | None:
        """The ids that have a token, in order; None where all of the model's have one."""
        size = self.bundle.config.vocab_size
        known = np.unique(np.fromiter(self.tokenizer.vocabulary().values(), dtype=np.int64))
        return None if len(known) == size else known[known < size]

    def _fills(self, logits: NDArray[np.float32], top_k: int) -> Fills:
        probabilities = softmax(logits)
        known = self._tokens
        best = top_indices(probabilities if known is None else probabilities[:, known], top_k)
        best = best if known is None else known[best]
        return [
            [Fill(token=self.tokenizer.token(int(i)), probability=float(row[i]), token_id=int(i)) for i in order]
            for row, order in zip(probabilities, best, strict=True)
        ]


def _reopened(folder: str, model_sha256: str, how: dict[str, Any]) -> BertRuntime:
    """An unpickled runtime.

    Raises:
        BundleError: another bundle is in the folder by now, or none.
    """
    runtime = load(folder, **how)
    if runtime.bundle.model_sha256 != model_sha256:
        raise BundleError(
            f"{folder}: is another bundle than the one that was pickled", "load it again, and pickle that"
        )
    return runtime
