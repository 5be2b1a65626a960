"""The embedded runtime: text in, words, judgements and vectors out."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, overload

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from bertedge.bundle import Bundle
from bertedge.encoding import Encoding
from bertedge.engines.onnxruntime.grouping import Engine, Model, Row
from bertedge.engines.onnxruntime.padded import PaddedPredictor
from bertedge.engines.onnxruntime.right_here import require_right_here
from bertedge.engines.onnxruntime.session import Sessions
from bertedge.engines.onnxruntime.versions import require_onnxruntime, warn_of_telemetry
from bertedge.engines.threads import checked_threads
from bertedge.errors import BundleError, UsageError
from bertedge.manifest import OPTIONAL_INPUTS
from bertedge.predictor import Batch, Outputs
from bertedge.runtime.probabilities import softmax, top_indices
from bertedge.runtime.text_vectors import TextVectors, row_of
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
    bundle: str | Path, *, threads: int | None = None, check: bool = True, allow_any_cpu: bool = False
) -> BertRuntime:
    """Open a bundle and make it ready to run.

    Args:
        threads: threads an operator may use; default: one for each core that this process may use.
        check: compare the files with the manifest's hashes; the larger part of the time of loading a large bundle.
        allow_any_cpu: run even where results would be wrong, for the bundle's target or for this CPU's onnxruntime.

    Raises:
        BundleError: the bundle is incomplete or altered.
        UsageError: fewer than one thread, or far more than the machine has CPUs.
        UnfitMachineError: this CPU or onnxruntime is not right for it.

    Warns:
        TargetWarning: the bundle is right here, but less true than one for this CPU would be.
    """
    threads = checked_threads(threads)
    opened = Bundle.open(bundle, check=check)
    manifest = opened.manifest
    require_onnxruntime(manifest.min_onnxruntime)
    warn_of_telemetry()
    if manifest.may_overflow and not allow_any_cpu:
        require_right_here(manifest.target)
    runtime = BertRuntime(opened, threads=threads, check=check, allow_any_cpu=allow_any_cpu)
    _log.info("loaded %s: target %s, %d threads, onnxruntime %s", bundle, manifest.target, threads, ort.__version__)
    return runtime


class BertRuntime(TextVectors):
    """A loaded bundle. Results depend neither on the other texts of a call nor on any padding; see :func:`load`.

    Many texts are best given in one list: texts of equal length run together, unpadded, and each core takes one such
    group after the other. Then the weights are in memory twice, unless ``threads`` is 1.

    It can be pickled, copied and forked: each process opens the bundle's folder again, with the same checks.

    Args:
        model: what computes in place of onnxruntime.
        check, allow_any_cpu: as for :func:`load`, where another process opens the bundle again.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        threads: int,
        model: Model | None = None,
        check: bool = True,
        allow_any_cpu: bool = False,
    ) -> None:
        self.bundle = bundle
        self.threads = threads
        self.name = bundle.name
        self._check, self._allow_any_cpu, self._model = check, allow_any_cpu, model
        # a process that opens it again may stand in another folder
        self._here = replace(bundle, folder=bundle.folder.absolute())
        manifest = bundle.manifest
        self.tokenizer = bundle.tokenizer
        self.engine = Engine(
            model or self._sessions(threads),
            bundle.config,
            all_positions=manifest.positions == "all",
            row_independent=manifest.row_independent,
            int8_share=manifest.coverage.macs,
        )

    def _sessions(self, threads: int) -> Sessions:
        """The bundle's file, loaded; it is the model that the manifest describes."""
        check = partial(self._here.check_files, hashes=self._check)
        sessions = Sessions(self._here.model_path, threads=threads, check=check)
        sessions.require(self.bundle.manifest.inputs, self.bundle.output_sizes, optional=OPTIONAL_INPUTS)
        return sessions

    def __repr__(self) -> str:
        heads = ", ".join(self.bundle.manifest.heads)
        return (
            f"BertRuntime({str(self.bundle.folder)!r}, dimension={self.dimension}, max_length={self.max_length}, "
            f"heads={heads!r}, threads={self.threads})"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        if self._model is not None:
            raise UsageError(
                f"{self.name}: a runtime on a {type(self._model).__name__} cannot be pickled or copied",
                "make one in each process; a runtime made by bertedge.load can be pickled",
            )
        how = {"threads": self.threads, "check": self._check, "allow_any_cpu": self._allow_any_cpu}
        return _reopened, (str(self._here.folder), self.bundle.model_sha256, how)

    def predict(self, batch: Batch) -> Outputs:
        """Both heads on an encoded batch; see :class:`bertedge.predictor.Predictor`."""
        return self.engine.predict(batch)

    def padded(self) -> PaddedPredictor:
        """The same file without what this runtime does about padding; opens a second session."""
        return PaddedPredictor(self._here, threads=self.threads)

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
        return self.engine.run(rows, lambda result: self._fills(result["mlm"], top_k))

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
        return self.engine.run(rows, lambda result: float(softmax(result["nsp"])[0]))

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
