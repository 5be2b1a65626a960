"""Vectors are made as the model's sentence-transformers folder says."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bertedge.bundle import Bundle
from bertedge.checkpoint import Checkpoint, write_checkpoint
from bertedge.encoders import EncoderConfig
from bertedge.errors import CheckpointError, LeftOutWarning, TruncationWarning, UsageError
from bertedge.heads.parts import Parts
from bertedge.pooling import POOLING_MODES, normalized, pool
from bertedge.quantization import export, quantize
from bertedge.runtime import BertRuntime, load
from bertedge.tokenizer import Tokenizer
from tests.conftest import random_tensors
from tests.embedders import DENSE, NORMALIZE, TRANSFORMER, Entry, embedder_folder, pooling

TEXTS = ["The cat sat on the mat.", "Bread needs flour, water, salt and time.", "A ship."]
LONG = "the cat sat on the mat " * 4
Make = Callable[..., BertRuntime]


@pytest.fixture(scope="module")
def plain(bundle_of: Callable[..., Bundle]) -> BertRuntime:
    """A model without a word on vectors."""
    return load(bundle_of("float32").folder, threads=1)


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory, model_folder: Path, plain: BertRuntime) -> Make:
    """The same weights, from a sentence-transformers folder."""

    def made(modules: Sequence[Entry] = (TRANSFORMER, pooling("mean"), NORMALIZE), **settings: Any) -> BertRuntime:
        folder = embedder_folder(tmp_path_factory.mktemp("embedder"), model_folder, modules, **settings)
        manifest = replace(plain.bundle.manifest, embedding=Checkpoint.read(folder).embedding)
        return BertRuntime(replace(plain.bundle, manifest=manifest), engine=plain.engine, threads=1)

    return made


@pytest.mark.parametrize("write", [export, quantize])
def test_the_bundle_says_it(
    tmp_path: Path, model_folder: Path, corpus_file: Path, write: Callable[..., Bundle]
) -> None:
    modules = [("0_Transformer", TRANSFORMER[1], None), pooling("max"), NORMALIZE, DENSE]
    folder = embedder_folder(tmp_path / "model", model_folder, modules, transformer={"max_seq_length": 9})
    options = {} if write is export else {"target": "portable", "calibration": corpus_file}
    bundle = write(folder, tmp_path / "bundle", **options)
    assert bundle.manifest.embedding == Checkpoint.read(folder).embedding
    assert any("2_Dense (Dense)" in warning for warning in bundle.manifest.warnings)
    runtime = load(bundle.folder, threads=1)
    vector = runtime.encode("A ship.", normalize=False, pooling="max")
    assert np.array_equal(vector, runtime.encode("A ship.", pooling="none").max(axis=0))
    sent = pickle.loads(pickle.dumps(runtime))
    assert np.array_equal(sent.encode("A ship.", pooling="max"), normalized(vector))


@pytest.mark.parametrize("modes", [*((mode,) for mode in POOLING_MODES), ("cls", "mean")])
def test_pooling_is_the_models(make: Make, plain: BertRuntime, modes: tuple[str, ...]) -> None:
    runtime = make([TRANSFORMER, pooling(*modes), NORMALIZE])
    states = plain.encode(TEXTS, pooling="none")
    expected = [normalized(pool(state, modes)) for state in states]
    assert np.allclose(runtime.encode(TEXTS), expected, atol=1e-6)
    assert np.array_equal(runtime.encode(TEXTS[0]), runtime.encode(TEXTS)[0])
    assert runtime.encode([]).shape == (0, len(modes) * 32)


def test_what_is_asked_for_counts_more(make: Make, plain: BertRuntime) -> None:
    runtime = make([TRANSFORMER, pooling("cls"), NORMALIZE])
    assert np.array_equal(runtime.encode(TEXTS, normalize=False), plain.encode(TEXTS, pooling="cls"))
    assert np.array_equal(runtime.encode(TEXTS, pooling="max", normalize=False), plain.encode(TEXTS, pooling="max"))
    assert np.array_equal(runtime.encode(TEXTS, pooling="max"), plain.encode(TEXTS, pooling="max", normalize=True))
    lengths = np.linalg.norm(runtime.encode(TEXTS, pooling="pooler"), axis=1)
    assert np.allclose(lengths, 1, atol=1e-6)
    ours, theirs = (one.encode(TEXTS, pooling="none") for one in (runtime, plain))
    assert all(np.array_equal(*pair) for pair in zip(ours, theirs, strict=True))


def test_a_model_that_says_nothing(plain: BertRuntime) -> None:
    assert np.array_equal(plain.encode(TEXTS), plain.encode(TEXTS, pooling="mean", normalize=False, prompt=""))


def test_length_is_the_models(make: Make, plain: BertRuntime) -> None:
    runtime = make([TRANSFORMER, pooling("lasttoken")], transformer={"max_seq_length": 9})
    with pytest.warns(TruncationWarning, match="1 of 2 texts had more than 9 tokens"):
        vectors = runtime.encode([LONG, "A ship."])
    assert np.array_equal(vectors[0], plain.encode("the cat sat on the mat the", pooling="lasttoken"))
    # the other methods read as much as the model can
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert runtime.fill_mask(f"{LONG}[MASK]") == plain.fill_mask(f"{LONG}[MASK]")


@pytest.mark.parametrize("include", [False, True])
@pytest.mark.parametrize("mode", POOLING_MODES)
def test_prompts(make: Make, plain: BertRuntime, mode: str, include: bool) -> None:
    about = {"prompts": {"query": "the cat ", "document": ""}, "default_prompt_name": "query"}
    runtime = make([TRANSFORMER, pooling(mode, include_prompt=include)], about=about)
    states = plain.encode("the cat sat", pooling="none")
    expected = pool(states, [mode], start=0 if include else 3)  # [CLS] the cat
    assert np.allclose(runtime.encode("sat"), expected, atol=1e-6)
    assert np.array_equal(runtime.encode("sat"), runtime.encode("sat", prompt_name="query"))
    assert np.array_equal(runtime.encode("sat"), runtime.encode("sat", prompt="the cat "))
    bare = plain.encode("sat", pooling=mode)  # type: ignore[call-overload]
    assert np.allclose(runtime.encode("sat", prompt_name="document"), bare, atol=1e-6)
    assert np.allclose(runtime.encode("sat", prompt=""), bare, atol=1e-6)


def test_a_prompt_that_fills_the_text(make: Make) -> None:
    runtime = make([TRANSFORMER, pooling("mean", include_prompt=False)], transformer={"max_seq_length": 5})
    with pytest.warns(TruncationWarning):
        assert np.isfinite(runtime.encode("sat", prompt=LONG)).all()


def test_modules_that_are_left_out_are_named(make: Make, plain: BertRuntime) -> None:
    runtime = make([TRANSFORMER, pooling("cls"), DENSE])
    with pytest.warns(LeftOutWarning, match=r"2_Dense \(Dense\)") as caught:
        vectors = runtime.encode(TEXTS)
    assert caught[0].filename == __file__
    assert np.array_equal(vectors, plain.encode(TEXTS, pooling="cls"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        runtime.encode(TEXTS, pooling="cls")


def test_a_model_without_pooling(make: Make, plain: BertRuntime) -> None:
    runtime = make([TRANSFORMER])
    with pytest.raises(UsageError, match="no pooling of its own"):
        runtime.encode(TEXTS)
    assert np.array_equal(runtime.encode(TEXTS, pooling="mean"), plain.encode(TEXTS, pooling="mean"))


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"prompt_name": "passage"}, "passage"),
        ({"prompt_name": "query", "prompt": "x"}, "both"),
        ({"prompt": 3}, "expected a text"),
        ({"pooling": "sum"}, "sum"),
        ({"pooling": "none", "normalize": True}, "normalize"),
    ],
)
def test_refused(make: Make, plain: BertRuntime, asked: dict[str, Any], words: str) -> None:
    for runtime in (plain, make(about={"prompts": {"query": "q: "}})):
        with pytest.raises(UsageError, match=words) as caught:
            runtime.encode(TEXTS, **asked)
        assert len(str(caught.value).splitlines()) == 2


def test_a_model_without_pooler(tmp_path: Path, config: EncoderConfig, tokenizer: Tokenizer) -> None:
    (tmp_path / "plain").mkdir()
    write_checkpoint(tmp_path / "plain", config, random_tensors(config, Parts()), tokenizer)
    export(embedder_folder(tmp_path / "model", tmp_path / "plain"), tmp_path / "bundle")
    runtime = load(tmp_path / "bundle", threads=1)
    assert runtime.encode(TEXTS).shape == (3, config.hidden_size)
    with pytest.raises(CheckpointError, match="pooler"):
        runtime.encode(TEXTS, pooling="pooler")
