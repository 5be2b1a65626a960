"""A model hub: names of repositories, the cache, and errors in two lines. huggingface_hub does the transfers."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertedge.errors import BertEdgeError, FileError, MissingExtraError, UsageError
from bertedge.files import FILE_HINT

#: ``owner/name``, or only the name for the oldest models of the hub, such as ``bert-base-uncased``.
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?", re.ASCII)
#: Length of the longest names on the hub.
MAX_ID = 96
#: In front of a hub id that is also the path of a local folder.
SCHEME = "hf://"
LOG_IN = "log in with: hf auth login, or set HF_TOKEN"
#: Status of an answer -> what is wrong, and what to do.
STATUSES = {
    401: ("the hub does not accept the access token", LOG_IN),
    402: ("the hub asks for payment", "look at the billing page of the account"),
    403: ("the access token does not allow this", "use a token that may write to this repository"),
    409: ("the repository was changed at the same time", "run the command again"),
    412: ("the repository was changed at the same time", "run the command again"),
    413: ("a file is larger than the hub allows", "ask the hub for more room"),
    429: ("the hub got too many requests", "wait a few minutes, and run the command again"),
}
#: Errors of this machine's files, not of the network.
OF_FILES = {
    errno.EACCES,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EIO,
    errno.ENOENT,
    errno.ENOSPC,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
}
#: Seconds in which the hub has to say what a repository has. The client itself would wait for good.
PATIENCE_S = 30.0
CHECK_NETWORK = "check the network, and HF_ENDPOINT if it is set"


@dataclass(frozen=True)
class HubName:
    """A repository on the hub, and a branch, a tag or a commit of it; None for its main branch."""

    repository: str
    revision: str | None = None

    def __str__(self) -> str:
        return self.repository if self.revision is None else f"{self.repository}@{self.revision}"

    @property
    def name(self) -> str:
        """Its name without the owner."""
        return self.repository.rpartition("/")[2]


def exists(path: str | Path, test: Callable[[Path], bool] = Path.exists) -> bool:
    """Whether a path passes the test; False for a path that the system refuses, for instance because it is too long."""
    try:
        return test(Path(path))
    except (OSError, ValueError):
        return False


def hub_name(text: str, *, with_owner: bool = True) -> HubName | None:
    """The repository that a text names: ``owner/name`` or ``owner/name@revision``.

    None for other texts, and for a path below a folder that exists: a path that is misspelt is not asked from the hub.
    With :data:`SCHEME` in front, local folders do not matter.

    Args:
        with_owner: whether a name without an owner is none.
    """
    given = text.removeprefix(SCHEME)
    repository, at, revision = given.partition("@")
    owner, slash, _ = repository.partition("/")
    if len(repository) > MAX_ID or not HUB_ID.fullmatch(repository) or (at and not revision):
        return None
    if with_owner and not slash:
        return None
    if given == text and slash and exists(owner, Path.is_dir):
        return None
    return HubName(repository, revision or None)


def require_hub_name(text: str) -> HubName:
    """See :func:`hub_name`. Local folders do not matter.

    Raises:
        UsageError: the text is no name of a repository.
    """
    found = hub_name(SCHEME + text.removeprefix(SCHEME))
    if found is None:
        raise UsageError(f"{text!r} is not the name of a repository", "give OWNER/NAME, as on the hub")
    return found


def require_client() -> Any:
    """The package huggingface_hub.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import huggingface_hub
        import huggingface_hub.errors
    except ModuleNotFoundError as error:
        raise MissingExtraError("huggingface_hub", "hub") from error
    return huggingface_hub


def name_in_cache(folder: Path) -> str | None:
    """The name of the repository if a folder is in the hub's cache; there folders are named by commits."""
    snapshots = folder.parent
    if snapshots.name != "snapshots" or not snapshots.parent.name.startswith("models--"):
        return None
    return snapshots.parent.name.rpartition("--")[2]


@contextmanager
def hub_errors(name: object, failed: str) -> Iterator[None]:
    """Turn errors of the hub's client into a :class:`FileError` about a repository.

    Args:
        failed: what the hub did not do.
    """
    try:
        yield
    except BertEdgeError:
        raise
    except Exception as error:  # the client raises many kinds of errors, also of the network
        reason, hint = explain(error)
        raise FileError(f"{name}: {failed} ({reason})", hint) from error


def explain(error: Exception) -> tuple[str, str]:
    """What is wrong in a few words, and a hint, for an error of the hub's client."""
    chain: list[BaseException] = [error]
    while chain[-1].__cause__ is not None:
        chain.append(chain[-1].__cause__)
    # the client wraps some errors in others that say less
    known = next(filter(None, map(_known, chain)), None)
    if known is not None:
        return known
    first_line = (str(chain[-1]).strip().splitlines() or [type(chain[-1]).__name__])[0]
    return first_line, CHECK_NETWORK


def _known(error: BaseException) -> tuple[str, str] | None:
    from huggingface_hub import errors

    kinds: tuple[tuple[Any, str, str], ...] = (
        (errors.GatedRepoError, "its owner asks users to accept terms first", f"accept them on its page, and {LOG_IN}"),
        (
            errors.RevisionNotFoundError,
            "no such branch, tag or commit",
            "see the list of them on the repository's page",
        ),
        (errors.RepositoryNotFoundError, "no such repository, or it is private", f"check the name, and {LOG_IN}"),
        (errors.LocalTokenNotFoundError, "the hub asks for an access token", LOG_IN),
        (errors.OfflineModeIsEnabled, "HF_HUB_OFFLINE is set, and the hub's cache lacks it", "unset HF_HUB_OFFLINE"),
        (errors.HFValidationError, "is not the name of a repository", "give OWNER/NAME, as on the hub"),
    )
    for kind, reason, hint in kinds:
        if isinstance(error, kind):
            return reason, hint
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, errors.HfHubHTTPError) and status is not None:  # up to 0.x it is a base of others, too
        return _of_status(status)
    if isinstance(error, OSError) and error.errno in OF_FILES:
        place = "" if error.filename is None else f"{error.filename}: "
        return f"{place}{error.strerror}", FILE_HINT
    return None


def _of_status(status: int) -> tuple[str, str]:
    if status >= 500:
        return f"the hub failed: HTTP {status}", "try again later"
    return STATUSES.get(status, (f"the hub refused: HTTP {status}", "check the name, and HF_ENDPOINT if it is set"))
