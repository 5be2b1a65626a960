"""Folders that hold a model only in a form for inference, such as ONNX, and what float model they were made from."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from bertedge.errors import FileError
from bertedge.records import read_json

#: Files of such models -> the form in words.
COMPILED = {"*.onnx": "ONNX", "onnx/*.onnx": "ONNX", "*.ort": "ONNX", "openvino/*.xml": "OpenVINO", "*.gguf": "GGUF"}


def refuse_compiled(folder: Path) -> None:
    """Refuse a folder without float weights that holds a model for inference.

    Raises:
        FileError: it is one; the hint names the float model, if the files do.
    """
    for pattern, form in COMPILED.items():
        for path in sorted(folder.glob(pattern)):
            raise FileError(
                f"{folder}: holds only an {form} model ({path.relative_to(folder)}), not the float weights",
                f"give the float model that it was made from, a folder with model.safetensors{_source(folder)}",
            )


def _source(folder: Path) -> str:
    """The name of the float model in a bundle's manifest or in ``config.json``, in words; empty if they name none."""
    for file, keys in (("manifest.json", ("provenance", "source")), ("config.json", ("_name_or_path",))):
        raw: Any = None
        with suppress(FileError):
            raw = read_json(folder / file) if (folder / file).is_file() else None
        for key in keys:
            raw = raw.get(key) if isinstance(raw, dict) else None
        if isinstance(raw, str) and raw:
            return f"; {file} names {raw[:80]!r}"
    return ""
