"""A bundle as a function of batches, for frameworks that run one on many machines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import numpy as np

from bertedge.bundle import Bundle
from bertedge.bundle_folder import locate_bundle, pinned_name
from bertedge.engines import AUTO
from bertedge.engines.threads import checked_threads
from bertedge.errors import BundleError, CheckpointError, UsageError
from bertedge.heads import BY_VERB, head_of_verb
from bertedge.heads.verb import Item, RowAnswers
from bertedge.jobs.batch_formats import Column, format_of, texts_in
from bertedge.jobs.row_options import row_options
from bertedge.jobs.worker_threads import worker_threads
from bertedge.runtime import BertRuntime, load


class _Model(NamedTuple):
    """What the mappers of a process share a loaded model by."""

    folder: str
    model_sha256: str
    engine: str
    threads: int


#: The models that this process has loaded. Ray and Spark make a mapper anew for each task; a model is loaded once.
_loaded: dict[_Model, BertRuntime] = {}
_loading = Lock()


class BundleMapper:
    """Answers each row of a batch: what Ray Data's ``map_batches`` and similar functions of other frameworks call.

    A batch is a dictionary of numpy arrays, a ``pyarrow.Table``, a ``pyarrow.RecordBatch`` or a ``pandas.DataFrame``.
    The result is of the same kind, with the same rows in the same order, and has columns for the answers: ``embed``
    adds ``embedding``, ``classify`` adds ``label``, ``score``, ``labels`` and ``scores``, ``tag`` adds ``entities``,
    ``fill-mask`` adds ``fills``, ``next-sentence`` adds ``is_next``, ``answer`` adds ``answer``, ``start``, ``end`` and
    ``score``, ``rerank`` adds ``score``.

    An object holds no model and can be pickled. Each process that uses it loads the model once, at the first batch.
    The bundle must be at the same path on every machine, or on a hub that all of them reach.

    Where a text is null (in numpy arrays and data frames also NaN), so are the answers: null in Arrow tables and data
    frames, NaN for vectors and numbers of numpy arrays. Vectors are a ``float32`` array of shape (rows, D), in Arrow a
    list of fixed size D, in data frames an array for each row.

    Args:
        bundle: its folder, or its name on a hub, as for :func:`bertedge.load`.
        verb: the command of ``bertedge`` that answers: ``embed``, ``classify``, ``tag``, ``fill-mask``,
            ``next-sentence``, ``answer`` or ``rerank``.
        column: the name of the column with the texts.
        pair: the name of the column with the second texts, for models that read pairs.
        prefix: what the names of the new columns begin with.
        threads: threads of the model in each process. Default: the CPUs that Ray assigned to the worker; elsewhere
            ``OMP_NUM_THREADS``, which Dask and Spark set for their workers; without it one for each core.
        engine: as for :func:`bertedge.load`.
        model_sha256: the model's hash; workers refuse another bundle. Default: that of the bundle that is there now.
        options: those of the command, such as ``normalize=True`` or ``top_k=3``. A text for all rows, such as
            ``query`` of ``rerank``, takes the place of a column.

    Raises:
        FileError, BundleError: there is no such bundle, or it has another hash.
        CheckpointError: the model has no head for the command.
        UsageError: the command or an option is not known; a second text is missing, or is not read.
    """

    def __init__(
        self,
        bundle: str | Path,
        verb: str = "embed",
        *,
        column: str,
        pair: str | None = None,
        prefix: str = "",
        threads: int | None = None,
        engine: str = AUTO,
        model_sha256: str | None = None,
        **options: Any,
    ) -> None:
        head = head_of_verb(verb)
        if threads is not None:
            checked_threads(threads)
        folder = locate_bundle(bundle)
        opened = Bundle.open(folder, check=False)
        self.bundle = pinned_name(bundle, folder)  # workers may have another directory, or another cache of the hub
        self.model_sha256 = model_sha256 or opened.model_sha256
        _require_model(opened, self.model_sha256)
        if not opened.manifest.parts.has(head.name):
            raise CheckpointError(f"{opened.name}: has no {head.name} head", f"{verb} needs a model that has one")
        self.verb, self.column, self.pair, self.prefix = verb, column, pair, prefix
        self.threads, self.engine = threads, engine
        self.options, self.shared = row_options(head.verb, options)
        self._check_second()

    def __repr__(self) -> str:
        return f"BundleMapper({self.bundle!r}, {self.verb!r}, column={self.column!r})"

    def __call__(self, batch: Any) -> Any:
        """The batch with the answers to its rows.

        Args:
            batch: N rows, also none.

        Raises:
            UsageError: it is of another type, has no such column, has a column that the answers need, or has a value
                that is not a text or that the model cannot use. The message gives the row, from 0.
            BundleError: the bundle was replaced since the object was made.
        """
        kind, items = format_of(batch), self._items(batch)
        names = [f"{self.prefix}{name}" for name in self._rows.names]
        for name in names:
            if name in kind.names(batch):
                raise UsageError(f"a batch has a column {name!r} already", 'choose other names: prefix="bertedge_"')
        return kind.extended(batch, self._columns(names, items))

    def map_iterator(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Call it on each batch in turn, as Spark's ``mapInPandas`` and ``mapInArrow`` want it."""
        return map(self, batches)

    def runtime(self) -> BertRuntime:
        """The loaded model, which all mappers of this process share.

        Raises:
            BundleError: the bundle is altered, or was replaced since the object was made.
        """
        threads = worker_threads(self.threads)
        key = _Model(self.bundle, self.model_sha256, self.engine, threads)
        with _loading:
            if key not in _loaded:
                runtime = load(self.bundle, engine=self.engine, threads=threads)
                _require_model(runtime.bundle, self.model_sha256)
                _loaded[key] = runtime
            return _loaded[key]

    def _items(self, batch: Any) -> list[Item | None]:
        """What each row asks about; None where a text of it is null."""
        texts = texts_in(batch, self.column)
        if not self._has_second:
            return list(texts)
        first: Sequence[str | None] = [self.shared["text"]] * len(texts) if "text" in self.shared else texts
        second: Sequence[str | None] = [self.shared["pair"]] * len(texts) if "pair" in self.shared else texts
        if not self.shared:
            second = texts_in(batch, str(self.pair))
        return [
            None if one is None or other is None else (one, other) for one, other in zip(first, second, strict=True)
        ]

    def _columns(self, names: list[str], items: list[Item | None]) -> list[Column]:
        rows = self._rows
        places = [row for row, item in enumerate(items) if item is not None]
        filled: list[tuple[Any, ...] | None] = [None] * len(items)
        for row, answer in zip(places, self._answers([items[row] for row in places], places), strict=True):
            filled[row] = rows.columns(answer)
        columns = []
        for place, (name, kind) in enumerate(zip(names, rows.types, strict=True)):
            values = [None if row is None else row[place] for row in filled]
            columns.append(Column(name=name, kind=kind, shape=self._shape(kind, place, values), values=values))
        return columns

    def _answers(self, items: list[Any], places: list[int]) -> Any:
        """The answers to items, which are at these rows of a batch."""
        rows, model = self._rows, self.runtime()
        try:
            return rows.answers(model, items, **self.options)
        except UsageError as error:
            for row, item in zip(places, items, strict=True):
                try:
                    rows.answers(model, [item], **self.options)
                except UsageError as cause:
                    raise UsageError(f"row {row} of a batch: {cause.message}", cause.hint) from error
            raise

    def _shape(self, kind: Any, place: int, values: list[Any]) -> tuple[int, ...]:
        """The shape of the arrays of a column; where the batch has no answer, of one to another text."""
        if kind is not np.ndarray:
            return ()
        found = next((value for value in values if value is not None), None)
        if found is None:
            rows = self._rows
            (answer,) = rows.answers(self.runtime(), [("a", "a") if self._has_second else "a"], **self.options)
            found = rows.columns(answer)[place]
        return found.shape

    @property
    def _rows(self) -> RowAnswers:
        return BY_VERB[self.verb].verb.rows

    @property
    def _has_second(self) -> bool:
        return self.pair is not None or bool(self.shared)

    def _check_second(self) -> None:
        """Refuse a second text that is not read, or is missing, or is given twice."""
        second = self._rows.second
        shared = [option.name for option in BY_VERB[self.verb].verb.options if option.gives]
        if second == "never" and self._has_second:
            raise UsageError(f"{self.verb} reads one text of a row", "leave pair= out")
        if second == "always" and not self._has_second:
            ways = " or ".join(f"{name}=" for name in ("pair", *shared))
            raise UsageError(f"{self.verb} reads two texts of a row", f"name a second column, or give one text: {ways}")
        if len(self.shared) + (self.pair is not None) > 1:
            raise UsageError(f"{self.verb} reads two texts of a row, and more are given", "give fewer of them")


def _require_model(bundle: Bundle, model_sha256: str) -> None:
    """Refuse a bundle that took the place of the right one."""
    if bundle.model_sha256 != model_sha256:
        raise BundleError(f"{bundle.folder}: is not the bundle that the job began with", "copy it there, or start anew")
