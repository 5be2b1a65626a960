"""Bundles with a part of the vocabulary."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from bertedge.benchmark import BenchSettings, bench
from bertedge.bundle import Bundle
from bertedge.checkpoint import Checkpoint
from bertedge.checkpoint.trim import always_kept
from bertedge.cli.app import app
from bertedge.errors import UsageError
from bertedge.evaluate.latency import Workload
from bertedge.evaluate.study import Effort
from bertedge.quantization import export, quantize
from bertedge.runtime import load
from bertedge.runtime.golden import verify

SETTINGS = BenchSettings(
    starts=1,
    examples=4,
    max_length=32,
    effort=Effort(rounds=2, max_rounds=2),
    grid=(Workload(batch_size=1, seq_len=8),),
)


@pytest.fixture(scope="module")
def kept(checkpoint: Checkpoint) -> int:
    """A number between the tokens that always stay and all tokens."""
    return (len(always_kept(checkpoint.tokenizer)) + checkpoint.config.vocab_size) // 2


def test_the_tokenizer_agrees_with_the_weights(
    checkpoint: Checkpoint, kept: int, tmp_path: Path, corpus_file: Path
) -> None:
    bundle = quantize(checkpoint, tmp_path / "b", calibration=corpus_file, keep_vocab=kept)
    whole = quantize(checkpoint, tmp_path / "whole", calibration=corpus_file)
    assert bundle.config.vocab_size == bundle.tokenizer.vocab_size == kept
    assert bundle.size_bytes < whole.size_bytes
    assert f"keeps {kept:,} of {checkpoint.config.vocab_size:,} tokens" in bundle.manifest.warnings[0]
    runtime = load(bundle.folder)
    assert verify(runtime).passed
    assert len(runtime.fill_mask("The cat sat on the [MASK].", top_k=3)[0]) == 3


def test_what_is_kept_is_computed_as_before(
    checkpoint: Checkpoint, kept: int, tmp_path: Path, corpus_file: Path
) -> None:
    whole = load(export(checkpoint, tmp_path / "whole").folder)
    part = load(export(checkpoint, tmp_path / "part", keep_vocab=kept, vocab_corpus=corpus_file).folder)
    # pieces that both have: one letter words
    text = "a b a [MASK] a"
    filled = [{f.token: f.probability for f in r.fill_mask(text, top_k=kept)[0]} for r in (whole, part)]
    shared = sorted(filled[0].keys() & filled[1].keys())
    assert len(shared) > 10
    one, other = (np.log([by_token[t] for t in shared]) for by_token in filled)
    assert np.allclose(one - one[0], other - other[0], atol=1e-3)


def test_bench_takes_a_reference_that_was_trimmed_alike_and_says_so(
    checkpoint: Checkpoint, kept: int, model_folder: Path, tmp_path: Path, corpus_file: Path
) -> None:
    bundle = quantize(checkpoint, tmp_path / "b", calibration=corpus_file, keep_vocab=kept)
    with pytest.raises(UsageError, match="another vocabulary") as raised:
        bench([bundle.folder], reference=model_folder, corpus=corpus_file, settings=SETTINGS)
    assert f"--keep-vocab {kept}" in raised.value.hint
    reference = export(checkpoint, tmp_path / "float", keep_vocab=kept, vocab_corpus=corpus_file)
    report = bench([bundle.folder], reference=reference.folder, corpus=corpus_file, settings=SETTINGS)
    assert report.candidates[0].fidelity["mlm.kl_mean"].value < 0.05


def test_a_number_that_cannot_be_kept(checkpoint: Checkpoint, tmp_path: Path, corpus_file: Path) -> None:
    for keep in (3, checkpoint.config.vocab_size + 1):
        with pytest.raises(UsageError, match="keep_vocab"):
            quantize(checkpoint, tmp_path / "b", calibration=corpus_file, keep_vocab=keep)
    assert not (tmp_path / "b").exists()


def test_the_command_line(model_folder: Path, kept: int, tmp_path: Path, corpus_file: Path) -> None:
    output = tmp_path / "b"
    command = ["quantize", str(model_folder), "-o", str(output), "--recipe", "weight-only", "--set", "bits=8"]
    command += ["--set", "block_size=32", "--calibration", str(corpus_file), "--keep-vocab", str(kept)]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "int8 weight-only" in done.output
    assert f"keeps {kept}" in done.output
    assert Bundle.open(output).config.vocab_size == kept
    refused = CliRunner().invoke(app, ["export", str(model_folder), "-o", str(tmp_path / "f"), "--vocab-corpus", "x"])
    assert isinstance(refused.exception, UsageError)
