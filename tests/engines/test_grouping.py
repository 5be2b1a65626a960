"""The cost of a call, which decides how many threads it gets."""

from __future__ import annotations

import numpy as np
import pytest

from bertedge.encoders import BERT
from bertedge.engines.onnxruntime.feed import Feed
from bertedge.engines.onnxruntime.grouping import GroupingExecutor
from bertedge.engines.onnxruntime.sessions import Run
from bertedge.heads.parts import Parts
from bertedge.predictor import Row

CONFIG = BERT.config(vocab_size=90, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
LENGTH = 6


class Noted:
    """A model that notes what its calls cost."""

    callers = 1
    input_names = frozenset({"input_ids", "attention_mask", "token_type_ids"})

    def __init__(self) -> None:
        self.costs: list[int] = []

    def run(self, feed: Feed, work: int) -> dict[str, np.ndarray]:
        self.costs.append(work)
        states = np.zeros((*feed["input_ids"].shape, CONFIG.hidden_size), dtype=np.float32)
        return {"last_hidden_state": states, "hidden_states": states}

    def run_alone(self) -> Run:
        return self.run


@pytest.mark.parametrize("all_positions", [False, True])
def test_a_model_without_a_decoder_costs_its_blocks(all_positions: bool) -> None:
    model, ids = Noted(), np.zeros(LENGTH, dtype=np.int64)
    executor = GroupingExecutor(
        model, CONFIG, parts=Parts(), all_positions=all_positions, row_independent=True, int8_share=1.0
    )
    row = Row(input_ids=ids, token_type_ids=ids, masked_positions=ids[:0], hidden=True)
    executor.run([row], lambda outputs: None)
    assert model.costs == [LENGTH * CONFIG.block_macs]
