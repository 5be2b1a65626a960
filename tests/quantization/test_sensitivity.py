"""Which layers cost most, and in what order they are promoted."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertedge.checkpoint import Checkpoint
from bertedge.encoders import BERT
from bertedge.layers import block_layers, word_table
from bertedge.quantization import sensitivity
from bertedge.quantization.result_cache import Cache
from bertedge.quantization.sensitivity import (
    FLOAT16,
    Remedy,
    Sensitivity,
    group_of,
    recipe_with,
)
from bertedge.recipe import Dynamic, QuantizationRecipe, Static

RECIPE = QuantizationRecipe(method=Static(examples=8, max_length=48))


def remedy(group: str, field: str, kl: float, cost: float, mae: float = 0.1) -> Remedy:
    losses = {"mlm.kl_mean": kl, "nsp.prob_mae": mae}
    return Remedy(group=group, field=field, layers=(group,), losses=losses, work=cost, bytes=0.0)


def of(*remedies: Remedy, kl: float = 1.0, mae: float = 0.1) -> Sensitivity:
    losses = {"mlm.kl_mean": kl, "nsp.prob_mae": mae}
    return Sensitivity(examples=1, positions=1, losses=losses, remedies=remedies)


def names(steps: list[Remedy]) -> list[str]:
    return [f"{step.group}:{step.field}" for step in steps]


def test_the_most_gain_for_its_cost_comes_first() -> None:
    dear, cheap, useless = (
        remedy("dear", FLOAT16, 0.4, 0.9),
        remedy("cheap", FLOAT16, 0.7, 0.1),
        remedy("x", FLOAT16, 1.1, 0.1),
    )
    assert names(of(dear, cheap, useless).path(("mlm",))) == ["cheap:float16", "dear:float16", "x:float16"]


def test_a_group_may_be_treated_twice_and_the_second_time_better() -> None:
    finer, float16, other = (
        remedy("a", "finer", 0.6, 0.1),
        remedy("a", FLOAT16, 0.5, 0.5),
        remedy("b", FLOAT16, 0.5, 0.2),
    )
    assert names(of(float16, finer, other).path(("mlm",))) == ["a:finer", "b:float16", "a:float16"]


def test_it_is_the_head_that_loses_that_counts() -> None:
    for_mlm, for_nsp = remedy("m", FLOAT16, 0.1, 0.5, mae=0.1), remedy("n", FLOAT16, 1.0, 0.5, mae=0.01)
    both = of(for_mlm, for_nsp)
    assert names(both.path(("mlm",)))[0] == "m:float16"
    assert names(both.path(("nsp",)))[0] == "n:float16"


REMEDIES = st.builds(
    remedy,
    st.sampled_from("abcd"),
    st.sampled_from(["finer", FLOAT16]),
    st.one_of(st.floats(0, 2), st.just(math.nan)),
    st.floats(-0.5, 3),
)


@given(st.lists(REMEDIES, max_size=8, unique_by=lambda r: (r.group, r.field)))
def test_a_path_takes_every_group_to_float16_at_last(remedies: list[Remedy]) -> None:
    steps = of(*remedies).path(("mlm", "nsp"))
    assert len(steps) == len(set(names(steps)))
    assert {f"{r.group}:{r.field}" for r in remedies if r.field == FLOAT16} <= set(names(steps))


def test_a_recipe_names_its_remedies() -> None:
    taken = {"a": remedy("a", "finer", 0.5, 0.1), "b": remedy("b", FLOAT16, 0.5, 0.1)}
    recipe = recipe_with(RECIPE, taken)
    assert (recipe.method.finer, recipe.float16) == (("a",), ("b",))  # type: ignore[union-attr]


def test_deep_models_are_tried_in_groups() -> None:
    config = BERT.config(num_hidden_layers=12)
    assert group_of(block_layers(config, 7).qkv, 1) == "encoder.layer.7.attention.qkv"
    assert group_of(block_layers(config, 7).qkv, 4) == "encoder.layer.4-7.attention.qkv"
    assert group_of(block_layers(config, 11).output, 4) == "encoder.layer.8-11.output"
    assert group_of(word_table(config), 4) == "embeddings.word"


def test_every_layer_is_tried_in_every_finer_format(checkpoint: Checkpoint, corpus_file: Path) -> None:
    told: list[str] = []
    cache = Cache()
    found = sensitivity(
        checkpoint,
        recipe=RECIPE,
        calibration=corpus_file,
        cache=cache,
        listen=lambda share, text: told.append(text),
    )
    tried = {(r.group, r.field) for r in found.remedies}
    blocks = [
        f"encoder.layer.{i}.{k}"
        for i in (0, 1)
        for k in ("attention.qkv", "attention.output", "intermediate", "output")
    ]
    for layer in (*blocks, "pooler", "mlm.decoder"):
        assert {(layer, "finer"), (layer, FLOAT16)} <= tried
    assert ("embeddings.position", FLOAT16) in tried
    assert "mlm.transform" not in {r.group for r in found.remedies}
    assert found.examples == 48 + 24  # pairs, and half as many single texts
    assert found.positions > 48
    assert found.losses["mlm.kl_mean"] > 0
    assert all(r.bytes > 0 for r in found.remedies if r.field == FLOAT16 and r.group != "embeddings.position")
    assert all(r.work > 0 and abs(r.bytes) < 0.01 for r in found.remedies if r.field == "finer" and r.group != "pooler")
    best = found.path(("mlm",))[0]
    assert found.gain(best, ("mlm",)) > 0
    assert any("sensitivity of" in text for text in told)
    told.clear()
    again = sensitivity(
        checkpoint, recipe=RECIPE, calibration=corpus_file, cache=cache, listen=lambda s, t: told.append(t)
    )
    assert again.losses == pytest.approx(found.losses)
    assert not [text for text in told if text.startswith("calibrating")]


def test_a_method_without_finer_formats_has_float16(checkpoint: Checkpoint, corpus_file: Path) -> None:
    found = sensitivity(checkpoint, recipe=QuantizationRecipe(method=Dynamic()), calibration=corpus_file)
    assert {r.field for r in found.remedies} == {FLOAT16}
