"""The runtime: fills masks, judges pairs of sentences, and makes vectors of texts."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from bertedge.bundle import Bundle
from bertedge.bundle_folder import locate_bundle
from bertedge.engines import AUTO, ENGINES, Engine, choose_engine
from bertedge.engines.threads import checked_threads
from bertedge.errors import BundleError, UsageError
from bertedge.heads import HEADS, HeadMethods
from bertedge.heads.text_model import Runner
from bertedge.predictor import Batch, Outputs, Predictor
from bertedge.runtime.row_runner import RowRunner
from bertedge.target import warn_if_less_accurate

_log = logging.getLogger(__name__)


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
        bundle: a folder, or ``owner/name`` or ``owner/name@revision`` on a hub, which goes to the hub's cache.
        engine: a name in :data:`bertedge.engines.ENGINES`; ``auto`` takes the fastest one that is correct on this CPU.
        threads: threads an operator may use; default: one for each core that this process may use.
        check: compare the files with the manifest's hashes; for a large bundle this is most of the loading time.
        allow_any_cpu: run the bundle even if its results are wrong on this CPU.

    Raises:
        BundleError: the bundle is incomplete or altered.
        FileError: there is no such folder, and the hub did not deliver it.
        UsageError: an unknown engine, fewer than one thread, or far more than the machine has CPUs.
        UnfitMachineError: the requested engine, or with ``auto`` every engine, is incorrect on this CPU or not built.
        MissingExtraError: the engine needs a package that is not installed.

    Warns:
        TargetWarning: the bundle is correct on this CPU, but less accurate than a bundle made for it.
    """
    threads = checked_threads(threads)
    opened = Bundle.open(locate_bundle(bundle), check=check)
    chosen = choose_engine(engine, opened.manifest, allow_any_cpu=allow_any_cpu)
    if opened.manifest.may_overflow and not allow_any_cpu:
        warn_if_less_accurate(opened.manifest.target, stacklevel=2)
    runtime = BertRuntime(opened, engine=chosen, threads=threads, check=check, allow_any_cpu=allow_any_cpu)
    _log.info("loaded %s: target %s, %d threads, %s", bundle, opened.manifest.target, threads, chosen.describe())
    return runtime


class BertRuntime(HeadMethods):
    """A loaded bundle. Results depend neither on the other texts of a call nor on any padding; see :func:`load`.

    Give many texts in one list, which is faster: texts run together without padding, and each core runs groups of them
    by itself. On onnxruntime this holds the weights in memory twice, unless ``threads`` is 1.

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
        self.config = bundle.config
        self.verbs = tuple(head.verb.name for name, head in HEADS.items() if bundle.manifest.parts.has(name))
        self.heads, self.has_pooler = bundle.manifest.heads, bundle.manifest.parts.pooler
        self.head_settings = bundle.head_settings
        self._check, self._allow_any_cpu = check, allow_any_cpu
        self._absolute_folder = bundle.folder.absolute()  # a process that opens it again may have another directory
        self.runner: RowRunner = RowRunner(
            name=bundle.name,
            executor=engine.open(bundle, threads=threads, check=check),
            config=bundle.config,
            row_independent=bundle.manifest.row_independent or engine.arithmetic == "per_token",
        )

    def __repr__(self) -> str:
        heads = ", ".join(self.heads)
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

    def with_runner(self, runner: Runner) -> BertRuntime:
        """A runtime that shares everything with this one, but runs its texts on another runner."""
        made = object.__new__(type(self))
        made.__dict__ = {**self.__dict__, "runner": runner}
        return made

    def predict(self, batch: Batch) -> Outputs:
        """All heads on an encoded batch; see :class:`bertedge.predictor.Predictor`."""
        return self.runner.predict(batch)

    def padded(self) -> Predictor:
        """The same file in plain onnxruntime, with padding; opens a second session."""
        from bertedge.engines.onnxruntime.padded import PaddedPredictor

        return PaddedPredictor(replace(self.bundle, folder=self._absolute_folder), threads=self.threads)


def _reopened(folder: str, model_sha256: str, how: dict[str, Any]) -> BertRuntime:
    """An unpickled runtime.

    Raises:
        BundleError: the folder now holds another bundle, or no bundle.
    """
    runtime = load(folder, **how)
    if runtime.bundle.model_sha256 != model_sha256:
        raise BundleError(
            f"{folder}: the bundle was replaced after it was pickled", "load the new bundle and pickle it"
        )
    return runtime
