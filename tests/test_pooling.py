"""Pooling and what is said of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bertedge.errors import CheckpointError, FileError
from bertedge.pooling import POOLING_MODES, EmbeddingSettings, pool
from bertedge.records import from_json, to_json
from bertedge.vector_modules import VectorModule, normalized

STATES = np.array([[1, -2], [3, 4], [5, -6]], dtype=np.float32)


@pytest.mark.parametrize(
    ("mode", "start", "expected"),
    [
        ("cls", 0, [1, -2]),
        ("max", 0, [5, 4]),
        ("mean", 0, [3, -4 / 3]),
        ("mean_sqrt_len_tokens", 0, [9 / np.sqrt(3), -4 / np.sqrt(3)]),
        ("weightedmean", 0, [(1 + 6 + 15) / 6, (-2 + 8 - 18) / 6]),
        ("lasttoken", 0, [5, -6]),
        # the first token is a prompt's; those behind it keep their weights
        ("cls", 1, [3, 4]),
        ("max", 1, [5, 4]),
        ("mean", 1, [4, -1]),
        ("mean_sqrt_len_tokens", 1, [8 / np.sqrt(2), -2 / np.sqrt(2)]),
        ("weightedmean", 1, [(6 + 15) / 5, (8 - 18) / 5]),
        ("lasttoken", 1, [5, -6]),
    ],
)
def test_pool(mode: str, start: int, expected: list[float]) -> None:
    pooled = pool(STATES, [mode], start=start)
    assert pooled.dtype == np.float32
    assert np.allclose(pooled, expected)


def test_several_modes_are_concatenated_in_order() -> None:
    assert pool(STATES, ["lasttoken", "cls"]).tolist() == [5, -6, 1, -2]
    assert pool(STATES, POOLING_MODES).shape == (2 * len(POOLING_MODES),)


def test_a_vector_of_zeros_is_not_scaled() -> None:
    assert normalized(np.array([3, 4], dtype=np.float32)).tolist() == pytest.approx([0.6, 0.8])
    assert normalized(np.zeros(2, dtype=np.float32)).tolist() == [0, 0]
    assert normalized(STATES[0]).dtype == np.float32


def test_settings_are_written_and_read() -> None:
    settings = EmbeddingSettings(
        pooling=("cls", "mean"),
        max_seq_length=24,
        normalize=True,
        include_prompt=False,
        prompts={"query": "query: "},
        default_prompt_name="query",
        modules=(VectorModule(kind="dense", inputs=64, outputs=8, activation="tanh"),),
        truncate_dim=4,
    )
    assert from_json(EmbeddingSettings, to_json(settings)) == settings
    assert settings.lines == [
        "cls + mean pooling, dense layer 64 to 8, tanh, scaled to length 1, the first 4 numbers, up to 24 tokens",
        "prompt query (default): 'query: '",
        "the prompt's tokens are not pooled",
    ]


@pytest.mark.parametrize(
    "changed",
    [
        {"pooling": ["attention"]},
        {"pooling": "mean"},
        {"pooling": [3]},
        {"max_seq_length": 0},
        {"max_seq_length": -1},
        {"max_seq_length": 2.5},
        {"prompts": {"query": 3}},
        {"default_prompt_name": "query"},
        {"modules": "Dense"},
        {"modules": [{"kind": "lstm", "inputs": 8, "outputs": 8}]},
        {"modules": [{"kind": "dense", "inputs": 0, "outputs": 8}]},
        {"modules": [{"kind": "dense", "inputs": 8, "outputs": 8, "weights": {}}]},
        {"modules": [{"kind": "dense", "inputs": 8, "outputs": 4}, {"kind": "dense", "inputs": 8, "outputs": 4}]},
        {"truncate_dim": 0},
        {"similarity": "jaccard"},
    ],
)
def test_settings_changed_by_hand(changed: dict[str, Any]) -> None:
    raw = {**to_json(EmbeddingSettings(pooling=("mean",), max_seq_length=24)), **changed}
    with pytest.raises((CheckpointError, FileError)) as caught:
        from_json(EmbeddingSettings, raw)
    assert len(str(caught.value).splitlines()) == 2
