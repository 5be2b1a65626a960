"""What the embedded runtime answers."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertedge.bundle import Bundle
from bertedge.checkpoint import write_checkpoint
from bertedge.encoders import EncoderConfig
from bertedge.engines.onnxruntime import ONNXRUNTIME
from bertedge.engines.onnxruntime.versions import require_onnxruntime
from bertedge.errors import CheckpointError, TruncationWarning, UnfitMachineError, UsageError
from bertedge.heads.parts import Parts
from bertedge.predictor import Row
from bertedge.probabilities import top_indices
from bertedge.quantization import export
from bertedge.runtime import BertRuntime, load
from bertedge.tokenizer import Tokenizer
from tests.conftest import KINDS, random_tensors

TEXTS = ["The cat sat on the [MASK].", "[MASK] was a warm day, and [MASK] came to the door.", "Bake [MASK]."]


@pytest.fixture(scope="module")
def runtime(bundle_of: Callable[..., Bundle]) -> BertRuntime:
    return load(bundle_of("static").folder)


def test_fill_mask_of_one_text(runtime: BertRuntime) -> None:
    (fills,) = runtime.fill_mask(TEXTS[0], top_k=3)
    assert len(fills) == 3
    probabilities = [fill.probability for fill in fills]
    assert probabilities == sorted(probabilities, reverse=True)
    assert runtime.tokenizer.token(fills[0].token_id) == fills[0].token


def test_lists_equal_single_calls(runtime: BertRuntime) -> None:
    together = runtime.fill_mask(TEXTS * 3)
    assert together == [runtime.fill_mask(text) for text in TEXTS] * 3
    assert [len(fills) for fills in together[:3]] == [1, 2, 1]


def test_more_proposals_than_pieces(runtime: BertRuntime) -> None:
    (fills,) = runtime.fill_mask(TEXTS[0], top_k=10**6)
    assert len(fills) == runtime.bundle.config.vocab_size
    assert sum(fill.probability for fill in fills) == pytest.approx(1, abs=1e-3)


def test_next_sentence(runtime: BertRuntime) -> None:
    pairs = [("It was a warm day.", "Then the cat went to sleep."), ("A ship left.", "Mix the dough.")]
    answers = runtime.next_sentence(pairs)
    assert answers == [runtime.next_sentence(*pair) for pair in pairs]
    assert all(0 <= answer <= 1 for answer in answers)


def numbers_made(bundle: Bundle, call: Callable[[BertRuntime], object], tmp_path: Path) -> dict[str, int]:
    """How many numbers the nodes of each part of the graph put out in one call, as onnxruntime's profiler saw it."""
    runtime = load(bundle.folder, engine="onnxruntime", threads=1)
    feeds: list[dict] = []
    model = runtime.runner.executor._model
    run = model.run
    model.run = lambda feed, work: feeds.append(feed) or run(feed, work)
    call(runtime)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    options.enable_profiling, options.profile_file_prefix = True, str(tmp_path / "profile")
    session = ort.InferenceSession(str(bundle.model_path), options, providers=["CPUExecutionProvider"])
    for feed in feeds:
        session.run(None, feed)
    made: Counter[str] = Counter()
    for event in json.loads(Path(session.end_profiling()).read_text()):
        shapes = event.get("args", {}).get("output_type_shape", [])
        for shape in (shape for output in shapes for shape in output.values()):
            made[event["name"].split(".")[0]] += int(np.prod(shape))
    return dict(made)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("positions", ["masked", "all"])
def test_only_words_pay_for_the_head_of_words(
    kind: str, positions: str, bundle_of: Callable[..., Bundle], tmp_path: Path
) -> None:
    bundle = bundle_of(kind, positions=positions)
    pair, text = ("It was a warm day.", "Then the cat went to sleep."), "The cat [MASK]."
    judged = numbers_made(bundle, lambda runtime: runtime.next_sentence(*pair), tmp_path)
    encoded = numbers_made(bundle, lambda runtime: runtime.encode(pair[0]), tmp_path)
    filled = numbers_made(bundle, lambda runtime: runtime.fill_mask(text), tmp_path)
    assert judged["encoder"] > filled["encoder"] > 0
    assert filled["mlm"] > bundle.config.vocab_size
    # the scale and the zero point that "dynamic" finds in no rows at all
    assert max(judged["mlm"], encoded["mlm"]) <= 2


def test_sessions_are_silent(bundle_of: Callable[..., Bundle], capfd: pytest.CaptureFixture[str]) -> None:
    """onnxruntime warns of every input with a default, which users of ours can do nothing about."""
    for positions in ("masked", "all"):
        bundle = bundle_of("static", positions=positions)
        capfd.readouterr()
        runtime = load(bundle.folder, engine="onnxruntime")
        for _ in range(2):
            runtime.fill_mask(TEXTS)
            runtime.next_sentence("It was a warm day.", "Then the cat went to sleep.")
            runtime.encode(TEXTS)
        runtime.padded()
        assert capfd.readouterr() == ("", "")


def test_a_bundle_that_cannot_spare_the_head(bundle_of: Callable[..., Bundle], tmp_path: Path) -> None:
    """One made before ``logits_end``, or changed by a tool that took inputs with a default away."""
    bundle = bundle_of("static", positions="all")
    folder = shutil.copytree(bundle.folder, tmp_path / "bundle")
    model = onnx.load(folder / "model.onnx")
    model.graph.input.remove(next(value for value in model.graph.input if value.name == "logits_end"))
    onnx.save(model, folder / "model.onnx")
    old = BertRuntime(replace(bundle, folder=folder), engine=ONNXRUNTIME, threads=1)
    pair = ("It was a warm day.", "Then the cat went to sleep.")
    assert old.next_sentence(*pair) == load(bundle.folder, engine="onnxruntime", threads=1).next_sentence(*pair)


def test_encode(runtime: BertRuntime) -> None:
    size = runtime.bundle.config.hidden_size
    for pooling in ("mean", "cls", "pooler"):
        vectors = runtime.encode(TEXTS, pooling=pooling)
        assert np.shape(vectors) == (3, size)
        assert np.allclose(vectors[1], runtime.encode(TEXTS[1], pooling=pooling), atol=1e-6)
    states = runtime.encode(TEXTS, pooling="none")
    lengths = [len(runtime.tokenizer.encode(text).input_ids) for text in TEXTS]
    assert [state.shape for state in states] == [(length, size) for length in lengths]
    assert np.allclose(runtime.encode(TEXTS)[0], states[0].mean(axis=0), atol=1e-6)


def test_empty_lists(runtime: BertRuntime) -> None:
    assert runtime.fill_mask([]) == []
    assert runtime.next_sentence([]) == []
    assert runtime.encode([]).shape == (0, runtime.bundle.config.hidden_size)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda r: r.fill_mask("no mask here"), "no [MASK]"),
        (lambda r: r.fill_mask(""), "no [MASK]"),
        (lambda r: r.fill_mask("   "), "no [MASK]"),
        (lambda r: r.fill_mask([TEXTS[0], "none"]), "index 1"),
        (lambda r: r.fill_mask(TEXTS[0], top_k=0), "top_k"),
        (lambda r: r.next_sentence("alone"), "missing"),
        (lambda r: r.encode("text", pooling="sum"), "pooling"),
    ],
)
def test_refusals(runtime: BertRuntime, call: Callable, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        call(runtime)
    assert words in caught.value.message
    assert caught.value.hint


def test_a_mask_beyond_the_models_length_is_an_error(runtime: BertRuntime) -> None:
    long = "the cat sat " * 60
    with pytest.warns(TruncationWarning), pytest.raises(UsageError, match="is beyond"):
        runtime.fill_mask(long + "[MASK]")
    with pytest.warns(TruncationWarning, match="1 of 1 texts"):
        assert len(runtime.fill_mask("[MASK] " + long)) == 1


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"input_ids": [1, 10**6]}, "input_ids"),
        ({"input_ids": [1, -1]}, "input_ids"),
        ({"token_type_ids": [0, 2]}, "token_type_ids"),
        ({"masked_positions": [2]}, "masked_positions"),
        ({"input_ids": [], "token_type_ids": []}, "0 tokens"),
        ({"input_ids": [1] * 65, "token_type_ids": [0] * 65}, "65 tokens"),
    ],
)
def test_ids_out_of_range(runtime: BertRuntime, row: dict, words: str) -> None:
    values = {"input_ids": [1, 2], "token_type_ids": [0, 0], "masked_positions": [], **row}
    with pytest.raises(UsageError, match=words):
        arrays = {name: np.array(value, dtype=np.int64) for name, value in values.items()}
        runtime.runner.run([Row(**arrays)], lambda result: result)


def test_a_head_that_is_not_there(config: EncoderConfig, tokenizer: Tokenizer, tmp_path: Path) -> None:
    folder = tmp_path / "encoder"
    folder.mkdir()
    write_checkpoint(folder, config, random_tensors(config, Parts()), tokenizer)
    export(folder, tmp_path / "bundle")
    encoder = load(tmp_path / "bundle")
    assert encoder.encode("The cat sat.").shape == (config.hidden_size,)
    for call in (lambda: encoder.fill_mask(TEXTS[0]), lambda: encoder.next_sentence("a", "b")):
        with pytest.raises(CheckpointError, match="head"):
            call()


def test_an_onnxruntime_that_is_too_old() -> None:
    require_onnxruntime("1.2")
    with pytest.raises(UnfitMachineError, match="too old") as caught:
        require_onnxruntime("99.1")
    assert "pip install" in caught.value.hint


def test_threads_do_not_change_results(bundle_of: Callable[..., Bundle]) -> None:
    folder = bundle_of("static").folder
    one, two = load(folder, threads=1), load(folder, threads=2)
    assert np.allclose(one.encode(TEXTS), two.encode(TEXTS), atol=1e-5)


@settings(max_examples=25)
@given(st.lists(st.text(min_size=1).filter(str.strip), min_size=1, max_size=4))
def test_any_text_has_a_finite_vector(runtime: BertRuntime, texts: list[str]) -> None:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)
        assert np.isfinite(runtime.encode(texts)).all()


def test_top_indices_break_ties_by_index() -> None:
    values = np.array([0.1, 0.4, 0.4, 0.2, 0.4])
    assert top_indices(values, 4).tolist() == [1, 2, 4, 3]


@pytest.mark.parametrize(
    "call",
    [
        lambda bert: bert.next_sentence(["One."], ["Two."]),
        lambda bert: bert.next_sentence(["One.", "Two."]),
        lambda bert: bert.next_sentence([("One.", "Two.", "Three.")]),
        lambda bert: bert.fill_mask([("a [MASK]", "b")]),
        lambda bert: bert.fill_mask([None]),
    ],
)
def test_what_is_neither_a_text_nor_a_pair_is_refused(bundle_of: Callable[..., Bundle], call: Any) -> None:
    with pytest.raises(UsageError, match="expected"):
        call(load(bundle_of("static").folder))


@pytest.mark.parametrize("threads", [0, -1])
def test_there_is_no_call_on_fewer_threads_than_one(bundle_of: Callable[..., Bundle], threads: int) -> None:
    with pytest.raises(UsageError, match=f"threads is {threads}"):
        load(bundle_of("static").folder, threads=threads)
