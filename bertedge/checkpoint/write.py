"""Write a checkpoint as ``transformers`` does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertedge.checkpoint.checkpoint import heads_of, settings_of
from bertedge.checkpoint.embedder_writer import write_embedder
from bertedge.encoders import CONFIG_FILES, Encoder, EncoderConfig, encoder_of, names, write_config
from bertedge.errors import FileError, MissingExtraError
from bertedge.heads import HEADS
from bertedge.heads.parts import Parts
from bertedge.heads.structure import Found
from bertedge.pooling import EmbeddingSettings
from bertedge.records import write_json
from bertedge.tokenizer import Tokenizer

WEIGHTS = "model.safetensors"


def write_checkpoint(
    folder: Path,
    config: EncoderConfig,
    tensors: Mapping[str, NDArray[np.float32]],
    tokenizer: Tokenizer,
    *,
    dtype: str = "float32",
    metadata: Mapping[str, str] | None = None,
    embedding: EmbeddingSettings | None = None,
) -> None:
    """Write ``config.json``, ``model.safetensors`` and the tokenizer into an existing folder, as ``transformers`` does.

    Args:
        tensors: by canonical names; a tied decoder is not among them.
        dtype: ``float32`` or ``float16``.
        embedding: how the model makes vectors; makes the folder one of sentence-transformers.
    """
    try:
        from safetensors.numpy import save_file
    except ModuleNotFoundError as error:
        raise MissingExtraError("safetensors", "tools") from error
    found = Found(config=config, tensors={name: array.shape for name, array in tensors.items()})
    heads = heads_of(found)
    parts = Parts(heads, settings=settings_of(found, heads))
    write_json(
        folder / "config.json",
        {
            **described(config, parts),
            "dtype": dtype,
            "tie_word_embeddings": names.DECODER not in tensors,
        },
    )
    written = encoder_of(config).names.written
    arrays = {written(name): np.ascontiguousarray(tensor, dtype=dtype) for name, tensor in tensors.items()}
    if names.DECODER in arrays and names.DECODER_BIAS in arrays:
        # transformers looks for the bias of an untied decoder under both names
        arrays[names.UNTIED_DECODER_BIAS] = arrays[names.DECODER_BIAS]
    try:
        save_file(arrays, folder / WEIGHTS, metadata={"format": "pt", **(metadata or {})})
        (folder / WEIGHTS).chmod((folder / CONFIG_FILES[0]).stat().st_mode)  # the library makes it private
    except Exception as error:  # SafetensorError wraps the operating system's error
        raise FileError(
            f"{folder}: the weights cannot be written ({error})", "check permissions and free space"
        ) from error
    tokenizer.save(folder)
    if embedding is not None:
        write_embedder(folder, embedding, config)


def described(config: EncoderConfig, parts: Parts) -> dict[str, Any]:
    """The content of ``config.json`` for a model: its sizes, its class in ``transformers``, its labels."""
    heads = parts.rows
    keys = {key: value for head in heads for key, value in head.config_keys(parts.settings_of(head.name)).items()}
    return {**write_config(config), "architectures": [_architecture(encoder_of(config), parts.heads)], **keys}


def _architecture(encoder: Encoder, heads: Iterable[str]) -> str:
    """The class of ``transformers`` that has these heads."""
    own = [HEADS[head].architecture for head in heads]
    return encoder.architecture if len(own) > 1 else f"{encoder.class_prefix}{own[0] if own else 'Model'}"
