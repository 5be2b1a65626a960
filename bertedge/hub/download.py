"""``bertedge pull``: a bundle from a hub repository, complete and checked, or nothing."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

from bertedge.bundle import CONFIG, Bundle
from bertedge.bundle_folder import no_bundle
from bertedge.errors import BundleError
from bertedge.files import new_folder
from bertedge.hub_client import PATIENCE_S, HubName, hub_errors, require_client, require_hub_name
from bertedge.manifest import MANIFEST, Manifest, read_manifest

_log = logging.getLogger(__name__)
#: Where the hub's client keeps notes while it downloads into a folder.
NOTES = ".cache"


def pull(repository: str, output: str | Path, *, force: bool = False) -> Bundle:
    """Download a bundle from a hub into a folder: the files of its manifest, and no others.

    Every file is compared with the manifest before the folder appears. After an error ``output`` is as before.

    Args:
        repository: ``owner/name``, or ``owner/name@revision`` with a branch, a tag or a commit.
        output: the folder to make.
        force: replace a bundle that is there.

    Raises:
        UsageError: ``repository`` is no name of a repository.
        FileError: ``output`` is there already, or the hub did not deliver the files.
        BundleError: the repository holds no bundle, or its files are not those of its manifest.
        MissingExtraError: huggingface_hub is not installed.
    """
    wanted = require_hub_name(repository)
    client = require_client()
    output = Path(output)
    with new_folder(output, force=force, marker=MANIFEST) as scratch:
        _fetch(client, wanted, scratch)
        shutil.rmtree(scratch / NOTES, ignore_errors=True)
    return Bundle.open(output, check=False)


def _fetch(client: Any, wanted: HubName, folder: Path) -> None:
    """Download the files of a bundle into an empty folder, and check them."""
    with hub_errors(wanted, "the hub did not deliver it"):
        about = client.HfApi().model_info(
            wanted.repository, revision=wanted.revision, files_metadata=True, timeout=PATIENCE_S
        )
        sizes = {sibling.rfilename: sibling.size for sibling in about.siblings}
        if MANIFEST not in sizes:
            raise no_bundle(wanted, is_checkpoint=CONFIG in sizes)

        def fetch(name: str) -> None:
            client.hf_hub_download(wanted.repository, name, revision=about.sha, local_dir=folder)

        fetch(MANIFEST)
        manifest = read_manifest(folder / MANIFEST)
        _require_sizes(wanted, manifest, sizes)
        for name in manifest.files:
            fetch(name)
    _log.info("downloaded %s at commit %s", wanted, about.sha)
    try:
        Bundle(folder=folder, manifest=manifest).check_files()
    except BundleError as error:
        reason = error.message.removeprefix(f"{folder}: ")
        raise BundleError(
            f"{wanted}: {reason}, on the way or in the repository",
            "pull it again; if that does not help, its owner has to push it again",
        ) from error


def _require_sizes(wanted: HubName, manifest: Manifest, sizes: dict[str, int | None]) -> None:
    """Refuse a repository whose list of files already shows that it is not whole.

    Raises:
        BundleError: a file is missing or of another size.
    """
    wrong = [
        f"{name} is missing" if name not in sizes else f"{name} was altered"
        for name, entry in manifest.files.items()
        if sizes.get(name, -1) not in (None, entry.size_bytes)
    ]
    if wrong:
        raise BundleError(f"{wanted}: {', '.join(wrong)}", "its owner has to push it again")
