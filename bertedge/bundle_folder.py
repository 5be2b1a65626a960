"""Find the folder of a bundle that a user names: by its path, or by its name on the hub."""

from __future__ import annotations

import logging
from pathlib import Path

from bertedge.bundle import CONFIG
from bertedge.errors import BundleError, FileError, MissingExtraError
from bertedge.hub_client import SCHEME, HubName, exists, hub_errors, hub_name, require_client
from bertedge.manifest import MANIFEST, read_manifest

_log = logging.getLogger(__name__)


def on_hub(name: str | Path) -> HubName | None:
    """The repository that a user means by the name of a bundle; None for a path. A local folder comes first."""
    return hub_name(name) if isinstance(name, str) and not exists(name) else None


def locate_bundle(name: str | Path) -> Path:
    """The folder of a bundle: a path, or ``owner/name`` or ``owner/name@revision`` on the hub.

    A local folder comes first. What the hub's cache lacks is downloaded into it. If the hub cannot be reached, or
    ``HF_HUB_OFFLINE`` is set, the cache is enough. Whether the folder is a good bundle is for
    :meth:`bertedge.Bundle.open` to say.

    Args:
        name: a ``Path`` is never asked from the hub.

    Raises:
        FileError: the hub did not deliver it.
        BundleError: the repository holds no bundle that this version reads.
    """
    repository = on_hub(name)
    if repository is None:
        return Path(name)
    try:
        return _in_cache(repository)
    except MissingExtraError as error:
        raise FileError(
            f"{name}: no such folder, and the hub needs huggingface_hub",
            "give the folder of a bundle; for the hub, install bertedge with [hub]",
        ) from error


def pinned_name(name: str | Path, folder: Path) -> str:
    """What other processes open the same bundle by: an absolute path, or a commit on the hub.

    Args:
        folder: where :func:`locate_bundle` found it.
    """
    repository = on_hub(name)
    if repository is None:
        return str(folder.absolute())
    return f"{SCHEME}{HubName(repository.repository, folder.name)}"


def find_bundle(name: str | Path) -> Path | None:
    """The folder of a bundle, as :func:`locate_bundle` finds it. None if the name is not that of a bundle.

    It may then be a checkpoint.
    """
    repository = on_hub(name)
    if repository is None:
        return Path(name) if exists(Path(name) / MANIFEST, Path.is_file) else None
    try:
        _manifest_in_cache(repository)
    except (FileError, BundleError, MissingExtraError):  # whoever reads the checkpoint says what is wrong
        return None
    return _in_cache(repository)


def _in_cache(repository: HubName) -> Path:
    """The folder of a repository in the hub's cache, with every file of the bundle."""
    client = require_client()
    manifest = _manifest_in_cache(repository)
    folder = manifest.parent
    files = read_manifest(manifest).files
    with hub_errors(repository, "the hub did not deliver it"):
        for name in files:
            client.hf_hub_download(repository.repository, name, revision=folder.name)  # it is named by its commit
    _log.info("%s is in %s", repository, folder)
    return folder


def _manifest_in_cache(repository: HubName) -> Path:
    client = require_client()
    with hub_errors(repository, "no such folder, and the hub did not deliver it"):
        try:
            return Path(client.hf_hub_download(repository.repository, MANIFEST, revision=repository.revision))
        except client.errors.LocalEntryNotFoundError:
            raise
        except client.errors.EntryNotFoundError as error:
            is_checkpoint = client.HfApi().file_exists(repository.repository, CONFIG, revision=repository.revision)
            raise no_bundle(repository, is_checkpoint=is_checkpoint) from error


def no_bundle(repository: HubName, *, is_checkpoint: bool) -> BundleError:
    """The error about a repository that holds something else.

    Args:
        is_checkpoint: whether it seems to be a float model.
    """
    hint = (
        f"it seems to be a float model; make a bundle of it: bertedge quantize {repository} -o BUNDLE"
        if is_checkpoint
        else "name a repository that 'bertedge push' wrote"
    )
    return BundleError(f"{repository}: is not a bundle (no {MANIFEST})", hint)
