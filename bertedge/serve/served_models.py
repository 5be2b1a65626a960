"""The bundles that are served: they are loaded, and replaced by new ones while requests run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from bertedge.bundle_folder import on_hub
from bertedge.errors import BertEdgeError, CheckFailed
from bertedge.runtime import BertRuntime, golden, load
from bertedge.serve.batching import BatchingRunner, RowQueue, Watcher
from bertedge.serve.serve_settings import ServeSettings, served_name

#: Makes the watcher of a bundle's batches.
Watch = Callable[[str], Watcher]


class ServedModel:
    """A loaded bundle; it is closed after its last request once :meth:`retire` was called.

    Attributes:
        name: what clients ask for.
        runtime: the bundle, whose methods run together with those of other requests.
        queue: the texts that wait for it.
    """

    def __init__(self, name: str, runtime: BertRuntime, queue: RowQueue, watch: Watcher) -> None:
        self.name, self.queue = name, queue
        self._runner = BatchingRunner(runtime.runner, queue, watch)
        self.runtime = runtime.with_runner(self._runner)
        self.verbs = self.runtime.verbs
        self._users, self._retired, self._lock = 0, False, threading.Lock()

    def enter(self) -> bool:
        """Count a request; whether the bundle is still there for it."""
        with self._lock:
            if self._retired:
                return False
            self._users += 1
            return True

    def leave(self) -> None:
        """A request that was counted has ended."""
        with self._lock:
            self._users -= 1
            last = self._retired and not self._users
        if last:
            self._runner.close()

    def retire(self) -> None:
        """Take no more requests, and close the bundle after the last one."""
        with self._lock:
            idle = not self._users and not self._retired
            self._retired = True
        if idle:
            self._runner.close()


class ServedModels:
    """All bundles, by name, in the order of the command line."""

    def __init__(self, settings: ServeSettings, watch: Watch) -> None:
        self._settings, self._watch = settings, watch
        self._bundles = {served_name(bundle): _from_anywhere(bundle) for bundle in settings.bundles}
        self._served: dict[str, ServedModel] = {}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._bundles)

    @property
    def served(self) -> Mapping[str, ServedModel]:
        """Those that are loaded now."""
        return self._served

    def waiting(self, name: str) -> int:
        """Tokens that wait for a bundle."""
        return self._served[name].queue.waiting

    def load(self) -> None:
        """Load all bundles.

        Raises:
            BertEdgeError: one cannot be used; none is served then.
        """
        try:
            for name, bundle in self._bundles.items():
                self._served[name] = self._opened(name, bundle)
        except BaseException:
            self.close()
            self._served = {}
            raise

    def reload(self) -> dict[str, BertEdgeError | None]:
        """Load each bundle again next to the old one, and put it in its place. A broken one leaves the old one there.

        Returns:
            Name -> the error of a bundle that cannot be used.
        """
        found: dict[str, BertEdgeError | None] = {}
        for name, bundle in self._bundles.items():
            found[name] = None
            try:
                new = self._opened(name, bundle)
            except BertEdgeError as error:
                found[name] = error
                continue
            except Exception as error:  # out of memory, or a mistake: the old one goes on in any case
                found[name] = BertEdgeError(f"{bundle}: {type(error).__name__}", "load it with 'bertedge verify'")
                continue
            old, self._served = self._served.get(name), self._served | {name: new}
            if old is not None:
                old.retire()
        return found

    def close(self) -> None:
        """Close every bundle after its last request."""
        for model in self._served.values():
            model.retire()

    def _opened(self, name: str, bundle: str | Path) -> ServedModel:
        """Load a bundle and replay its golden vectors.

        Raises:
            BertEdgeError: it is broken, or is not right on this machine.
        """
        settings = self._settings
        runtime = load(
            bundle,
            engine=settings.engine,
            threads=settings.threads,
            check=settings.check,
            allow_any_cpu=settings.allow_any_cpu,
        )
        if settings.check and not golden.verify(runtime).passed:
            raise CheckFailed(
                f"{bundle}: the golden vectors do not match on this machine", f"see: bertedge verify {bundle}"
            )
        queue = RowQueue(batch_tokens=settings.tokens_at_once, most_tokens=settings.queue_tokens)
        return ServedModel(name, runtime, queue, self._watch(name))


def _from_anywhere(bundle: str | Path) -> str | Path:
    """A bundle by its absolute path, since the working directory may change before it is loaded again, or by its name
    on a hub, where there may be a newer one then.
    """
    return Path(bundle).absolute() if on_hub(bundle) is None else bundle
