"""A larger model's weights are in a file of their own; everything that reads a bundle works with both layouts."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from bertedge.bundle import Bundle
from bertedge.data.batches import Layout
from bertedge.data.corpus import tokenize_corpus
from bertedge.data.held_out import drawn_sample
from bertedge.data.pairs import sentence_pairs
from bertedge.engines import ENGINES
from bertedge.errors import BundleError
from bertedge.evaluate.clipping import measure_clipping
from bertedge.manifest import MANIFEST, WEIGHTS, file_entries, write_manifest
from bertedge.quantization import export, model_files
from bertedge.runtime import load
from bertedge.runtime.golden import verify
from tests.conftest import FLOAT, KINDS

TEXTS = ["the cat [MASK] on the mat", "a ship [MASK] the port at dawn"]
MakeBundle = Callable[..., Bundle]


@pytest.fixture(scope="module")
def split_bundle_of(bundle_of: MakeBundle) -> MakeBundle:
    """Like ``bundle_of``, with the weights in a file of their own."""
    return partial(bundle_of, layout="split")


@pytest.mark.parametrize("kind", KINDS)
def test_both_layouts_answer_the_same_to_the_bit(kind: str, bundle_of: MakeBundle, split_bundle_of: MakeBundle) -> None:
    one, split = bundle_of(kind), split_bundle_of(kind)
    assert (one.manifest.model_files, split.manifest.model_files) == (("model.onnx",), ("model.onnx", WEIGHTS))
    assert split.size_bytes == sum((split.folder / name).stat().st_size for name in split.manifest.model_files)
    assert split.model_sha256 not in {entry.sha256 for entry in split.manifest.files.values()}
    runtimes = [load(bundle.folder, threads=1) for bundle in (one, split)]
    assert verify(runtimes[1]).passed
    assert runtimes[0].fill_mask(TEXTS) == runtimes[1].fill_mask(TEXTS)
    tensors = [
        {t.name: t.raw_data for t in onnx.load(str(bundle.model_path)).graph.initializer} for bundle in (one, split)
    ]
    assert tensors[0] == tensors[1]


def test_every_position_and_plain_onnxruntime(bundle_of: MakeBundle, split_bundle_of: MakeBundle) -> None:
    bundles = [make("static", positions="all") for make in (bundle_of, split_bundle_of)]
    ids = np.arange(5, 14, dtype=np.int64)[None]
    feed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    answers = [ort.InferenceSession(str(bundle.model_path)).run(None, feed) for bundle in bundles]
    for expected, got in zip(*answers, strict=True):
        assert np.array_equal(expected, got)


def test_ort_format_is_made_from_either(split_bundle_of: MakeBundle, model_folder: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model_files, "EXTERNAL_WEIGHTS_MIN_BYTES", 0)
        bundle = export(model_folder, tmp_path / "b", format="ort")
    assert bundle.manifest.model_files == ("model.ort",)
    assert load(bundle.folder).fill_mask(TEXTS) == load(split_bundle_of(FLOAT).folder).fill_mask(TEXTS)


def test_clipping_is_counted(split_bundle_of: MakeBundle, corpus_file: Path) -> None:
    bundle = split_bundle_of("static")
    layout = Layout.of(bundle.tokenizer, bundle.config.vocab_size)
    corpus = tokenize_corpus(corpus_file, bundle.tokenizer)
    batches = drawn_sample(corpus, layout, examples=4, max_length=32, seed=0, pairs=sentence_pairs)
    assert measure_clipping(bundle, batches, threads=1)


def test_a_copy_in_a_folder_whose_name_is_not_utf8(split_bundle_of: MakeBundle, tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    try:
        shutil.copytree(split_bundle_of("static").folder, folder)
    except OSError:
        pytest.skip("the file system takes UTF-8 names only")
    assert load(folder).fill_mask(TEXTS) == load(split_bundle_of("static").folder).fill_mask(TEXTS)


@pytest.mark.parametrize("damage", ["missing", "cut", "changed"])
def test_damaged_weights_are_named(damage: str, split_bundle_of: MakeBundle, tmp_path: Path) -> None:
    folder = tmp_path / "b"
    shutil.copytree(split_bundle_of("static").folder, folder)
    weights = folder / WEIGHTS
    data = weights.read_bytes()
    weights.unlink() if damage == "missing" else weights.write_bytes(data[:-1] if damage == "cut" else data[:-1] + b"x")
    with pytest.raises(BundleError, match=WEIGHTS):
        Bundle.open(folder)


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="no links")
@pytest.mark.parametrize("engine", ENGINES)
def test_a_snapshot_of_the_hub_is_made_of_links(engine: str, split_bundle_of: MakeBundle, tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshot"
    shutil.copytree(split_bundle_of("static").folder, blobs)
    snapshot.mkdir()
    for name in os.listdir(blobs):
        (blobs / name).rename(blobs / f"hash-of-{name}")
        (snapshot / name).symlink_to(blobs / f"hash-of-{name}")
    runtime = load(snapshot, engine=engine)
    assert runtime.fill_mask(TEXTS) == load(split_bundle_of("static").folder, engine=engine).fill_mask(TEXTS)


def test_a_link_that_leads_out_of_the_folder(
    split_bundle_of: MakeBundle, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """onnxruntime refuses it; nothing but our error is printed."""
    folder = Path(shutil.copytree(split_bundle_of("static").folder, tmp_path / "b"))
    (folder / WEIGHTS).rename(tmp_path / "moved")
    (folder / WEIGHTS).symlink_to(tmp_path / "moved")
    assert load(folder, engine="numpy").fill_mask(TEXTS)
    with pytest.raises(BundleError, match="cannot load it") as raised:
        load(folder, engine="onnxruntime")
    assert "cp -rL" in raised.value.hint
    assert not capfd.readouterr().err


@pytest.mark.parametrize("damage", ["weights end early", "no model"])
@pytest.mark.parametrize("engine", ENGINES)
def test_files_that_only_their_reader_can_refuse(
    engine: str, damage: str, split_bundle_of: MakeBundle, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    bundle = split_bundle_of("static")
    folder = Path(shutil.copytree(bundle.folder, tmp_path / "b"))
    os.truncate(folder / WEIGHTS, 1000) if damage == "weights end early" else (folder / "model.onnx").write_bytes(b"x")
    (folder / MANIFEST).unlink()
    write_manifest(folder, replace(bundle.manifest, files=file_entries(folder)))
    with pytest.raises(BundleError, match=r"model\.onnx(_data)?: ") as raised:
        load(folder, engine=engine)
    assert "std::" not in raised.value.message
    assert not capfd.readouterr().err


def test_plain_onnxruntime_without_its_file(split_bundle_of: MakeBundle, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(split_bundle_of("static").folder, tmp_path / "b"))
    runtime = load(folder)
    shutil.rmtree(folder)
    with pytest.raises(BundleError, match="cannot load it"):
        runtime.padded()
