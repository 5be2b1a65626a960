"""``bertedge push``: a bundle and its model card to a hub repository, in one commit."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bertedge
from bertedge.bundle import Bundle
from bertedge.errors import FileError, UsageError
from bertedge.hub.model_card import CardFacts, model_card
from bertedge.hub_client import PATIENCE_S, HubName, hub_errors, require_client, require_hub_name
from bertedge.manifest import MANIFEST
from bertedge.records import read_json
from bertedge.scratch import temporary_folder

_log = logging.getLogger(__name__)
CARD = "README.md"


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """A commit on the hub, its page, and the files that it removed, which an earlier bundle had."""

    commit: str
    url: str
    removed: tuple[str, ...]


def push(
    bundle: str | Path,
    repository: str,
    *,
    facts: CardFacts | None = None,
    private: bool = False,
    revision: str | None = None,
    message: str | None = None,
    keep_card: bool = False,
) -> Pushed:
    """Upload a bundle with a model card to a hub. The repository is made if there is none.

    All files change in one commit, so that users see the earlier bundle or the new one, never a mixture. Files of an
    earlier bundle that the new one lacks are removed; other files stay.

    Args:
        bundle: the folder; its files are compared with its manifest first.
        repository: ``owner/name``.
        facts: what the card says that the bundle does not know.
        private: only for a new repository.
        revision: the branch; it is made if there is none. None: the main branch.
        message: of the commit.
        keep_card: leave a card that is there as it is.

    Raises:
        BundleError: the bundle is incomplete or altered.
        UsageError: ``repository`` is no name of a repository, or it is public although ``private`` is given.
        FileError: the repository holds something else, or the hub did not take the files.
        MissingExtraError: huggingface_hub is not installed.
    """
    wanted = require_hub_name(repository)
    if wanted.revision is not None:
        raise UsageError(f"{repository!r}: the branch is an option", f"--revision {wanted.revision}")
    opened = Bundle.open(bundle)
    card = model_card(opened, wanted.repository, facts or CardFacts())
    client = require_client()
    place = HubName(wanted.repository, revision)
    api = client.HfApi(library_name="bertedge", library_version=bertedge.__version__)
    with hub_errors(place, "the hub did not take it"):
        about = _prepare(api, place, private=private)
        there = {sibling.rfilename for sibling in about.siblings}
        own = {MANIFEST: opened.folder / MANIFEST, **{name: opened.folder / name for name in opened.manifest.files}}
        removed = sorted(_earlier_files(client, place, about.sha, there, own) - own.keys())
        keeps_card = keep_card and CARD in there
        content = {name: str(path) for name, path in own.items()} | ({} if keeps_card else {CARD: card.encode()})
        operations = [client.CommitOperationAdd(name, data) for name, data in content.items()]
        operations += [client.CommitOperationDelete(name) for name in removed]
        done = api.create_commit(
            place.repository,
            operations,
            revision=revision,
            commit_message=message or f"bertedge {bertedge.__version__}: {opened.name}",
            parent_commit=about.sha,
        )
        _require_all(api, place, done.oid, content)
    _log.info("pushed %s to %s as commit %s", opened.folder, place, done.oid)
    return Pushed(commit=done.oid, url=done.commit_url, removed=tuple(removed))


def _prepare(api: Any, place: HubName, *, private: bool) -> Any:
    """Make the repository and the branch if they are not there. Returns what the hub says about them."""
    api.create_repo(place.repository, private=private or None, exist_ok=True)
    if place.revision is not None:
        api.create_branch(place.repository, branch=place.revision, exist_ok=True)
    about = api.model_info(place.repository, revision=place.revision, timeout=PATIENCE_S)
    if private and not about.private:
        raise UsageError(
            f"{place.repository}: is there already, and is public", "choose another name, or leave out --private"
        )
    return about


def _earlier_files(client: Any, place: HubName, commit: str, there: Collection[str], own: Collection[str]) -> set[str]:
    """The files of the bundle that the repository holds now.

    Raises:
        FileError: it holds something else, which the bundle would overwrite.
    """
    if MANIFEST not in there:
        if taken := sorted(set(own) & set(there)):
            raise FileError(
                f"{place.repository}: holds something else, and the bundle would overwrite {', '.join(taken)}",
                "choose another name for the bundle",
            )
        return set()
    with temporary_folder() as folder:
        raw = read_json(Path(client.hf_hub_download(place.repository, MANIFEST, revision=commit, local_dir=folder)))
    files = raw.get("files") if isinstance(raw, dict) else None
    return set(files) & set(there) if isinstance(files, dict) else set()


def _require_all(api: Any, place: HubName, commit: str, names: Collection[str]) -> None:
    """Check that the commit has every file: the hub leaves out what a ``.gitignore`` of the repository names.

    Raises:
        FileError: a file is not there.
    """
    about = api.model_info(place.repository, revision=commit, timeout=PATIENCE_S)
    there = {sibling.rfilename for sibling in about.siblings}
    if left_out := sorted(set(names) - there):
        raise FileError(
            f"{place.repository}: the hub left out {', '.join(left_out)}",
            "does a .gitignore in the repository name them?",
        )
