"""The encoder families that bertedge runs: one file and one row of :data:`ENCODERS` for each.

Keys of ``config.json`` and tensor names of other tools are translated here. The other packages read
:class:`EncoderConfig` and the canonical tensor names of :mod:`bertedge.encoders.names` only.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bertedge.encoders.albert import ALBERT
from bertedge.encoders.bert import BERT
from bertedge.encoders.camembert import CAMEMBERT
from bertedge.encoders.config import EncoderConfig
from bertedge.encoders.distilbert import DISTILBERT
from bertedge.encoders.electra import ELECTRA
from bertedge.encoders.encoder import ClassifierStructure, Encoder
from bertedge.encoders.modernbert import MODERNBERT
from bertedge.encoders.mpnet import MPNET
from bertedge.encoders.nomic_bert import NOMIC_BERT
from bertedge.encoders.others import OTHER_CLASSES
from bertedge.encoders.roberta import ROBERTA
from bertedge.encoders.xlm_roberta import XLM_ROBERTA
from bertedge.errors import CheckpointError
from bertedge.files import FRESH_COPY, read_text, refuse_placeholder

__all__ = [
    "BERT",
    "CONFIG_FILES",
    "ENCODERS",
    "ClassifierStructure",
    "Encoder",
    "EncoderConfig",
    "encoder_of",
    "raw_config",
    "read_config",
    "read_config_file",
    "supported",
    "write_config",
]

#: A checkpoint's configuration has one of these names; the second is Google's.
CONFIG_FILES = ("config.json", "bert_config.json")
#: ``model_type`` of ``config.json`` -> the family. A new family is one file and one row.
ENCODERS: dict[str, Encoder] = {
    encoder.model_type: encoder
    for encoder in (BERT, DISTILBERT, ROBERTA, CAMEMBERT, XLM_ROBERTA, ELECTRA, ALBERT, MPNET, MODERNBERT, NOMIC_BERT)
}


def supported() -> str:
    """The families that bertedge runs, in words."""
    return f"bertedge runs {', '.join(encoder.title for encoder in ENCODERS.values())} only"


def encoder_of(config: EncoderConfig) -> Encoder:
    """The family of a configuration."""
    return ENCODERS[config.model_type]


def read_config(raw: dict[str, Any]) -> EncoderConfig:
    """Read the content of a ``config.json``; keys that do not affect the results are ignored.

    Raises:
        CheckpointError: the family is not supported, or the sizes cannot be used.
    """
    model_type = raw["model_type"] if "model_type" in raw else _model_type(raw.get("architectures"))
    if not isinstance(model_type, str) or model_type not in ENCODERS:
        raise CheckpointError(f"config: model_type is {str(model_type)[:80]!r}, which is not supported", supported())
    return ENCODERS[model_type].read_config(raw)


def raw_config(path: Path) -> dict[str, Any]:
    """The content of ``config.json``.

    Raises:
        CheckpointError: it is not a JSON object.
        FileError: a Git LFS pointer, or a web page, is in its place.
    """
    refuse_placeholder(path)
    try:
        raw = json.loads(read_text(path))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: cannot be read as JSON ({error})", FRESH_COPY) from error
    if not isinstance(raw, dict):
        raise CheckpointError(f"{path}: expected a JSON object", FRESH_COPY)
    return raw


def read_config_file(path: Path, raw: dict[str, Any] | None = None) -> EncoderConfig:
    """Read ``config.json`` (or Google's ``bert_config.json``, which has the same keys).

    Args:
        raw: its content, where it is already parsed.

    Raises:
        CheckpointError: it is not a configuration of a supported family.
        FileError: a Git LFS pointer, or a web page, is in its place.
    """
    raw = raw_config(path) if raw is None else raw
    try:
        return read_config(raw)
    except CheckpointError as error:
        raise CheckpointError(error.message.replace("config:", f"{path}:", 1), error.hint) from error


def write_config(config: EncoderConfig) -> dict[str, Any]:
    """The content of a ``config.json``, in the keys of the family."""
    return encoder_of(config).write_config(config)


def _model_type(architectures: object) -> str:
    """The family of a file without ``model_type``: the class that was saved names it; Google's BERT names none."""
    for name in architectures if isinstance(architectures, list) else ():
        for encoder in ENCODERS.values():
            if isinstance(name, str) and name.startswith(encoder.class_prefix):
                return encoder.model_type
        if isinstance(name, str) and name.startswith(OTHER_CLASSES):
            raise CheckpointError(
                f"config: there is no model_type, and architectures names {name[:80]!r}, which is not supported",
                supported(),
            )
    return BERT.model_type
