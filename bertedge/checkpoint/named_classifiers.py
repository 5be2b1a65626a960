"""``heads.toml`` in a checkpoint's folder: its own classifiers, by the names of their tensors.

Research models often have several classifiers next to each other, under names that no library knows. The file names
them::

    [classifiers.species]
    tensor = "cls.species_prediction"
    labels = ["human", "mouse", "rat"]
"""

from __future__ import annotations

from pathlib import Path

from bertedge.errors import FileError
from bertedge.heads.structure import NamedClassifier
from bertedge.keys import read_toml
from bertedge.records import from_json

HEADS_FILE = "heads.toml"
EXAMPLE = '[classifiers.NAME], then tensor = "PREFIX", where PREFIX.weight is the last layer of the classifier'


def read_named_classifiers(folder: Path) -> dict[str, NamedClassifier]:
    """The classifiers that the file names; empty if the folder has no such file.

    Raises:
        FileError: the file cannot be read, or has another form.
    """
    path = folder / HEADS_FILE
    if not path.exists():
        return {}
    raw = read_toml(path)
    listed = raw.get("classifiers")
    if set(raw) != {"classifiers"} or not isinstance(listed, dict) or not listed:
        raise FileError(f"{path}: expected classifiers, and nothing else", f"write {EXAMPLE}")
    try:
        return {name: from_json(NamedClassifier, own, f"{path}: classifiers.{name}") for name, own in listed.items()}
    except FileError as error:
        raise FileError(error.message, f"write {EXAMPLE}") from error
