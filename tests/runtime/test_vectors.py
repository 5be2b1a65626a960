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
from bertedge.errors import BundleError, CheckpointError, TruncationWarning, UsageError
from bertedge.heads.parts import Parts
from bertedge.pooling import POOLING_MODES, pool
from bertedge.quantization import export, quantize
from bertedge.runtime import BertRuntime, load
from bertedge.tokenizer import Tokenizer
from bertedge.vector_modules import normalized
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
        settings = replace(plain.bundle.manifest.settings, embedding=Checkpoint.read(folder).embedding)
        manifest = replace(plain.bundle.manifest, settings=settings)
        return BertRuntime(replace(plain.bundle, manifest=manifest), engine=plain.engine, threads=1)

    return made


@pytest.mark.parametrize("write", [export, quantize])
def test_the_bundle_says_it(
    tmp_path: Path, model_folder: Path, corpus_file: Path, write: Callable[..., Bundle]
) -> None:
    modules = [("0_Transformer", TRANSFORMER[1], None), pooling("max"), DENSE, ("3_Normalize", NORMALIZE[1], None)]
    folder = embedder_folder(tmp_path / "model", model_folder, modules, transformer={"max_seq_length": 9})
    options = {} if write is export else {"target": "portable", "calibration": corpus_file}
    bundle = write(folder, tmp_path / "bundle", **options)
    assert bundle.manifest.embedding == Checkpoint.read(folder).embedding
    assert "2_Dense/model.safetensors" in bundle.manifest.files
    runtime = load(bundle.folder, threads=1)
    vector = runtime.encode("A ship.", normalize=False)
    (module,) = Checkpoint.read(folder).embedding.modules
    assert np.array_equal(vector, module.apply(runtime.encode("A ship.", pooling="none").max(axis=0)))
    sent = pickle.loads(pickle.dumps(runtime))
    assert np.array_equal(sent.encode("A ship."), normalized(vector))
    (bundle.folder / "2_Dense/model.safetensors").unlink()
    with pytest.raises(BundleError, match=r"2_Dense/model.safetensors is missing"):
        load(bundle.folder)


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


def test_modules_belong_to_the_models_own_pooling(make: Make, plain: BertRuntime) -> None:
    runtime = make([TRANSFORMER, pooling("cls"), DENSE])
    assert runtime.encode(TEXTS).shape == (3, 8)
    assert np.array_equal(runtime.encode(TEXTS, pooling="cls"), runtime.encode(TEXTS))
    assert np.array_equal(runtime.encode(TEXTS, pooling="mean"), plain.encode(TEXTS, pooling="mean"))


def test_dimensions(make: Make) -> None:
    runtime = make(about={"truncate_dim": 12})
    assert runtime.dimension == 12
    assert runtime.encode([]).shape == (0, 12)
    whole, kept = runtime.encode(TEXTS, dimensions=999), runtime.encode(TEXTS)
    assert whole.shape == (3, 32)
    assert np.array_equal(kept, whole[:, :12])
    assert np.array_equal(runtime.encode(TEXTS, dimensions=4), whole[:, :4])
    assert np.allclose(np.linalg.norm(runtime.encode(TEXTS, dimensions=4, normalize=True), axis=1), 1)


def test_token_ids_in_place_of_texts(make: Make) -> None:
    about = {"prompts": {"query": "a ship "}, "default_prompt_name": "query"}
    model = make(about=about, transformer={"max_seq_length": 20})
    ids = [encoding.input_ids for encoding in model.tokenizer.encode_many(TEXTS)]
    for options in ({}, {"dimensions": 8, "normalize": True}, {"pooling": "max"}):
        np.testing.assert_array_equal(model.encode_ids(ids, **options), model.encode(TEXTS, prompt="", **options))
    assert model.encode_ids([]).shape == (0, model.dimension)
    for wrong, words in (
        ([ids[0], []], "index 1 has 0 token ids"),
        ([[2] * 21], "has 21 token ids, expected 1 to 20"),
        ([[2, 10**30]], "index 0 is not a list of token ids"),
        ([[2, model.config.vocab_size]], "out of range"),
        ([[2, -1]], "out of range"),
    ):
        with pytest.raises(UsageError, match=words):
            model.encode_ids(wrong)


def test_similarity(make: Make) -> None:
    runtime = make([TRANSFORMER, pooling("mean")], about={"similarity_fn_name": "euclidean"})
    one, several = TEXTS[0], TEXTS[1:]
    vectors = runtime.encode(TEXTS)
    expected = -np.linalg.norm(vectors[:1] - vectors[1:], axis=1)
    found = runtime.similarity(one, several)
    assert isinstance(found, np.ndarray)
    assert found.shape == (2,)
    assert np.allclose(found, expected, atol=1e-5)
    assert runtime.similarity(one, TEXTS[1]) == pytest.approx(expected[0], abs=1e-5)
    assert np.array_equal(runtime.similarity([one], several), runtime.similarity(vectors[:1], vectors[1:]))
    assert np.array_equal(runtime.similarity(vectors[0], several), found)
    assert np.asarray(runtime.similarity([], several)).shape == (0, 2)
    for wrong in (3, [3, "x"], np.zeros((1, 2, 3)), np.zeros(7), [None]):
        with pytest.raises(UsageError) as caught:
            runtime.similarity(one, wrong)  # type: ignore[arg-type]
        assert len(str(caught.value).splitlines()) == 2


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
        ({"pooling": "none", "dimensions": 3}, "dimensions"),
        ({"dimensions": 0}, "dimensions is 0"),
        ({"dimensions": 2.5}, "dimensions is 2.5"),
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
