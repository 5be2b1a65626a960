"""What can be set about the server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bertedge.bundle_folder import on_hub
from bertedge.engines import AUTO
from bertedge.engines.threads import checked_threads
from bertedge.errors import UsageError

#: Tokens of a batch for each thread. It is enough that no core waits for another one for long, see
#: :mod:`bertedge.engines.native.native_executor`, and a small request does not wait long for the batch before it.
BATCH_TOKENS_A_THREAD = 1024
MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class ServeSettings:
    """The bundles that are served, and the limits of requests.

    Attributes:
        bundles: folders, or names on a hub. Clients ask for :func:`served_name`; a request without a name gets the
            first bundle that can answer it.
        engine, threads, allow_any_cpu: see :func:`bertedge.load`.
        check: compare files with their hashes, and replay the golden vectors, before a bundle is used.
        batch_tokens: tokens that run at once, at most; a longer text runs alone. Default: 1024 a thread.
        queue_tokens: tokens that wait for one bundle, at most. A request with more than that is refused for good.
        max_requests: requests that are worked on, at most. Answers take about this many times as long as one request.
        max_texts: texts of a request.
        max_body_bytes: bytes of a request's body.
        timeout_s: seconds that a request may take, from its first byte to its answer.
        grace_s: seconds that requests get to finish when the server stops.
        api_key: what clients send as ``Authorization: Bearer KEY``; None lets everybody in.
        log_requests: write a line of JSON for each request.
    """

    bundles: tuple[str | Path, ...]
    engine: str = AUTO
    threads: int | None = None
    allow_any_cpu: bool = False
    check: bool = True
    batch_tokens: int | None = None
    queue_tokens: int = 131_072
    max_requests: int = 64
    max_texts: int = 2048
    max_body_bytes: int = 4 * MIB
    timeout_s: float = 30.0
    grace_s: float = 30.0
    api_key: str | None = None
    log_requests: bool = True

    def __post_init__(self) -> None:
        if not self.bundles:
            raise UsageError("there is no bundle to serve", "name the folder of one, or of several")
        names = [served_name(bundle) for bundle in self.bundles]
        for name in names:
            if names.count(name) > 1:
                raise UsageError(f"two bundles have the name {name}", "rename a folder: clients ask for its name")
        for name in ("batch_tokens", "queue_tokens", "max_requests", "max_texts", "max_body_bytes"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} is {value}, expected at least 1", "give a larger number")
        if not self.timeout_s > 0 or not self.grace_s >= 0:
            raise UsageError("a time is not a number of seconds", "give a number above 0")
        if self.api_key is not None and not self.api_key.strip():
            raise UsageError("the API key is empty", "give a key of some characters, or none")

    @property
    def tokens_at_once(self) -> int:
        """``batch_tokens``, or its default."""
        return self.batch_tokens or BATCH_TOKENS_A_THREAD * checked_threads(self.threads)


def served_name(bundle: str | Path) -> str:
    """The name that clients ask for: that of the folder, or ``owner/name`` of a bundle on a hub."""
    repository = on_hub(bundle)
    return Path(bundle).absolute().name if repository is None else repository.repository
