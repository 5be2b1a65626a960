"""The head of a model card: what the hub reads to find, filter and label a repository."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from bertedge.heads import HEADS, MAIN_FIRST, Head
from bertedge.heads.parts import Parts
from bertedge.manifest import Manifest

#: Words that YAML reads as text without quotes. Words such as ``no`` and ``on`` get quotes.
PLAIN = re.compile(r"[A-Za-z][\w./-]*", re.ASCII)
NOT_TEXT = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}
EMBEDDING = next(head for head in HEADS.values() if head.in_every_model)


def main_head(parts: Parts) -> Head:
    """The head that most users of a model want.

    It gives vectors if it has settings for them and no head that is trained on labels.
    """
    own = [head for head in MAIN_FIRST if head.name in parts.heads]
    gives_vectors = parts.settings_of(EMBEDDING.name) is not None and not parts.needs_labels
    return EMBEDDING if gives_vectors or not own else own[0]


def front_matter(manifest: Manifest, *, license: str | None, base_model: str | None, languages: Sequence[str]) -> str:
    """The YAML between two lines of dashes.

    Args:
        license: the hub's name of the licence, such as ``apache-2.0``.
        base_model: the repository of the float model.
        languages: ISO 639-1 codes.
    """
    is_quantized = manifest.recipe is not None
    tags = ["bertedge", "onnx", "cpu", *(["int8", "quantized"] if is_quantized else []), manifest.config["model_type"]]
    values: dict[str, Any] = {
        "language": list(languages) or None,
        "license": license,
        "library_name": "bertedge",
        "pipeline_tag": main_head(manifest.parts).pipeline_tag,
        "base_model": base_model,
        "base_model_relation": "quantized" if base_model and is_quantized else None,
        "tags": list(dict.fromkeys(tags)),
    }
    return f"---\n{_yaml(values)}---\n"


def _yaml(values: Mapping[str, Any]) -> str:
    """Texts and lists of texts as YAML. None is left out."""
    lines = []
    for key, value in values.items():
        if isinstance(value, list):
            lines += [f"{key}:", *(f"- {_scalar(item)}" for item in value)]
        elif value is not None:
            lines.append(f"{key}: {_scalar(value)}")
    return "".join(f"{line}\n" for line in lines)


def _scalar(text: str) -> str:
    plain = PLAIN.fullmatch(text) and text.lower() not in NOT_TEXT
    return text if plain else json.dumps(text, ensure_ascii=False)  # a string of JSON is one of YAML
