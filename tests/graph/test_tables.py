"""Look-up tables in every format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from bertedge.checkpoint import Checkpoint
from bertedge.graph.encoder_graph import build_graph
from bertedge.graph.formats import (
    DynamicInt8,
    Float16Weights,
    Int8Rows,
    NumberFormat,
    StaticInt8,
)

FEED = {
    "input_ids": np.array([[2, 7, 9, 30, 3]]),
    "attention_mask": np.ones((1, 5), dtype=np.int64),
    "token_type_ids": np.zeros((1, 5), dtype=np.int64),
    "masked_positions": np.array([[1, 3]]),
    "hidden_positions": np.arange(5),
}


def run(checkpoint: Checkpoint, plan: dict[str, NumberFormat], folder: Path) -> dict[str, np.ndarray]:
    graph = build_graph(checkpoint, plan)
    graph.builder.write(folder / "model.onnx")
    session = ort.InferenceSession(str(folder / "model.onnx"))
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, FEED), strict=True))


def error(checkpoint: Checkpoint, plan: dict[str, NumberFormat], folder: Path, output: str) -> float:
    return float(np.abs(run(checkpoint, plan, folder)[output] - run(checkpoint, {}, folder)[output]).max())


def test_exact_rows_are_looked_up_as_they_are(checkpoint: Checkpoint, tmp_path: Path) -> None:
    decoder = DynamicInt8()
    rounded = {"mlm.decoder": decoder, "embeddings.word": Int8Rows()}
    some = {"mlm.decoder": decoder, "embeddings.word": Int8Rows(exact=(2, 7, 9, 30, 3))}
    assert error(checkpoint, some, tmp_path, "hidden_states") < 0.02 * error(
        checkpoint, rounded, tmp_path, "hidden_states"
    )
    with pytest.raises(ValueError, match="exact rows"):
        Int8Rows(exact=tuple(range(256)))


def test_positions_as_float16(checkpoint: Checkpoint, tmp_path: Path) -> None:
    int8, float16 = ({"embeddings.position": form} for form in (Int8Rows(), Float16Weights()))
    assert error(checkpoint, float16, tmp_path, "hidden_states") < 0.1 * error(
        checkpoint, int8, tmp_path, "hidden_states"
    )


def test_what_divides_the_decoders_input_multiplies_the_shared_table(checkpoint: Checkpoint, tmp_path: Path) -> None:
    hidden = checkpoint.config.hidden_size
    divisors = tuple(np.linspace(0.5, 2, hidden))
    plain = StaticInt8(scale=8 / 255, zero_point=128)
    divided = StaticInt8(scale=8 / 255, zero_point=128, input_divisors=divisors)
    for form in (plain, divided):
        plan: dict[str, NumberFormat] = {"mlm.decoder": form, "embeddings.word": Int8Rows()}
        assert error(checkpoint, plan, tmp_path, "hidden_states") < 0.2
        assert error(checkpoint, plan, tmp_path, "mlm_logits") < 0.3
