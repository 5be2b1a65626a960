"""``bench`` as a library call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bertedge.benchmark import BenchSettings, bench
from bertedge.bundle import Bundle
from bertedge.checkpoint import write_checkpoint
from bertedge.config import BertConfig
from bertedge.errors import UsageError
from bertedge.evaluate.latency import Workload
from bertedge.quantization import export
from bertedge.tokenizer import Tokenizer
from tests.conftest import random_tensors

QUICK = BenchSettings(examples=8, rounds=2, grid=(Workload(batch_size=1, seq_len=8),))


def test_a_head_that_is_not_there_is_skipped_in_words(
    config: BertConfig, tokenizer: Tokenizer, corpus_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "plain").mkdir()
    write_checkpoint(tmp_path / "plain", config, random_tensors(config, ("mlm",)), tokenizer)
    export(tmp_path / "plain", tmp_path / "exported")
    report = bench([tmp_path / "exported"], reference=tmp_path / "plain", corpus=str(corpus_file), settings=QUICK)
    assert report.skipped == {"nsp": "no next-sentence head in plain, exported"}
    fidelity = report.candidates[0].fidelity
    assert fidelity["mlm.top1_agreement"].value == 1
    assert not [name for name in fidelity if name.startswith("nsp.")]


def test_an_int8_reference_is_refused(bundle_of: Callable[..., Bundle], corpus_file: Path) -> None:
    int8 = bundle_of("dynamic").folder
    with pytest.raises(UsageError, match="must be float32"):
        bench([int8], reference=int8, corpus=corpus_file, settings=QUICK)


@pytest.mark.parametrize("wrong", [{"examples": 0}, {"rounds": 1}, {"max_length": 4}])
def test_settings_check_themselves(wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="bench"):
        BenchSettings(**wrong)
