"""``bench`` as a library call."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bertedge.benchmark import BenchSettings, Standard, bench, distinct_names
from bertedge.benchmark.models import skipped
from bertedge.bundle import Bundle
from bertedge.checkpoint import Checkpoint, write_checkpoint
from bertedge.encoders import EncoderConfig
from bertedge.errors import UsageError
from bertedge.evaluate import latency
from bertedge.evaluate.latency import LatencyReport, Workload
from bertedge.evaluate.study import Effort
from bertedge.heads.parts import Parts
from bertedge.metric import MetricValue
from bertedge.quantization import export, quantize
from bertedge.report.budget import DEFAULTS, LATENCY, Budget
from bertedge.report.gate import judge
from bertedge.report.schema import Report
from bertedge.runtime import load
from bertedge.tokenizer import Tokenizer
from tests.conftest import random_tensors

QUICK = BenchSettings(
    starts=1,
    examples=16,
    effort=Effort(rounds=2, max_rounds=2, seconds=0),
    grid=(Workload(batch_size=1, seq_len=8),),
    threads=1,
)


@pytest.fixture(scope="module")
def baseline(bundle_of: Callable[..., Bundle], model_folder: Path, long_corpus_file: Path) -> Report:
    """A report of the tiny model."""
    return bench([bundle_of("static").folder], reference=model_folder, corpus=long_corpus_file, settings=QUICK)


def with_latency(report: Report, *entries: LatencyReport) -> Report:
    """A report whose candidate was timed otherwise."""
    (row,) = report.candidates
    return replace(report, candidates=(replace(row, latency=entries),))


def test_a_head_that_one_model_lacks_is_skipped_in_words(
    config: EncoderConfig, tokenizer: Tokenizer, model_folder: Path, long_corpus_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "plain").mkdir()
    write_checkpoint(tmp_path / "plain", config, random_tensors(config, Parts(("mlm",))), tokenizer)
    exported = export(tmp_path / "plain", tmp_path / "exported")
    report = bench([exported.folder], reference=tmp_path / "plain", corpus=str(long_corpus_file), settings=QUICK)
    assert report.skipped == {}  # neither has the other head
    fidelity = report.candidates[0].fidelity
    assert fidelity["mlm.top1_agreement"].value == 1
    whole = export(model_folder, tmp_path / "whole")
    assert skipped(["whole", "plain"], [whole, exported], lambda head: None) == {
        "nsp": "no next-sentence head in plain"
    }
    assert not [name for name in fidelity if name.startswith("nsp.")]


def test_an_int8_reference_is_refused(bundle_of: Callable[..., Bundle], long_corpus_file: Path) -> None:
    int8 = bundle_of("dynamic").folder
    with pytest.raises(UsageError, match="must be float32"):
        bench([int8], reference=int8, corpus=long_corpus_file, settings=QUICK)


@pytest.mark.parametrize("wrong", [{"examples": 0}, {"examples": 10**8}, {"max_length": 4}])
def test_settings_check_themselves(wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="bench|the number of examples"):
        BenchSettings(**wrong)


def test_a_bundle_beside_itself(bundle_of: Callable[..., Bundle], model_folder: Path, long_corpus_file: Path) -> None:
    """The candidate and what it is judged by have equal outputs, and as many rounds."""
    bundle = bundle_of("static").folder
    standard = Standard(against=bundle)
    report = bench([bundle], reference=model_folder, corpus=long_corpus_file, settings=QUICK, standard=standard)
    assert report.against is not None
    assert report.against.fidelity == report.candidates[0].fidelity
    assert report.complete
    verdicts = {verdict.metric: verdict for verdict in judge(report, None, standard.budgets)}
    assert verdicts["mlm.kl_mean"].outcome == verdicts["size_bytes"].outcome == "pass"
    assert "the same texts and the same numbers" in verdicts["mlm.kl_mean"].sentence
    assert verdicts["latency.p50"].change is not None
    assert verdicts["latency.p50"].change.n == 2


def test_a_candidate_that_cuts_text_otherwise_is_refused(
    bundle_of: Callable[..., Bundle], model_folder: Path, long_corpus_file: Path, tmp_path: Path
) -> None:
    """The same pieces and weights, but capitals are kept: its users would get other answers than those measured."""
    shutil.copytree(model_folder, tmp_path / "cased")
    rules = json.loads((tmp_path / "cased" / "tokenizer_config.json").read_text())
    (tmp_path / "cased" / "tokenizer_config.json").write_text(json.dumps({**rules, "do_lower_case": False}))
    export(tmp_path / "cased", tmp_path / "bundle")
    with pytest.raises(UsageError, match="tokenizes long.txt differently from the reference"):
        bench([tmp_path / "bundle"], reference=model_folder, corpus=long_corpus_file, settings=QUICK)
    lower = tmp_path / "lower.txt"
    lower.write_text(long_corpus_file.read_text().lower())
    assert bench([tmp_path / "bundle"], reference=model_folder, corpus=lower, settings=QUICK).complete


def test_there_has_to_be_a_candidate(model_folder: Path) -> None:
    with pytest.raises(UsageError, match="no candidate"):
        bench([], reference=model_folder)


def test_it_ends_where_more_rounds_would_decide_nothing(
    baseline: Report, bundle_of: Callable[..., Bundle], model_folder: Path, long_corpus_file: Path
) -> None:
    """A workload that only the baseline has is not measured by any number of rounds."""
    bundle, (timed,) = bundle_of("static").folder, baseline.candidates[0].latency
    longer = with_latency(baseline, timed, replace(timed, seq_len=16))
    standard = Standard(baseline=longer, budgets={LATENCY: Budget(metric=LATENCY, max_ratio=1e30)})
    settings = replace(QUICK, effort=Effort(rounds=2, max_rounds=9, seconds=600))
    report = bench([bundle], reference=model_folder, corpus=long_corpus_file, settings=settings, standard=standard)
    assert len(report.candidates[0].latency[0].samples_ms) == 2


def test_a_model_that_reads_less_than_the_usual_workloads(
    config: EncoderConfig, tokenizer: Tokenizer, long_corpus_file: Path, tmp_path: Path
) -> None:
    short = replace(config, max_position_embeddings=12)
    (tmp_path / "short").mkdir()
    write_checkpoint(tmp_path / "short", short, random_tensors(short, Parts(("mlm",))), tokenizer)
    export(tmp_path / "short", tmp_path / "bundle")
    settings = replace(QUICK, grid=BenchSettings().grid)
    report = bench([tmp_path / "bundle"], reference=tmp_path / "short", corpus=long_corpus_file, settings=settings)
    assert [(entry.batch_size, entry.seq_len) for entry in report.reference.latency] == [(1, 12)]


class Ticking:
    """A clock on which every call takes a millisecond, so that a busy machine decides nothing."""

    now = 0.0

    def perf_counter(self) -> float:
        self.now += 1e-3
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_it_goes_on_while_nothing_is_decided_and_ends_when_it_is(
    baseline: Report,
    bundle_of: Callable[..., Bundle],
    model_folder: Path,
    long_corpus_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(latency, "time", Ticking())
    bundle = bundle_of("static").folder
    settings = replace(QUICK, effort=Effort(rounds=2, max_rounds=5, seconds=600))
    wide = MetricValue(value=1.0, low=1e-9, high=1e9, n=2)  # the baseline's interval, so that no number of rounds helps
    (timed,) = baseline.candidates[0].latency
    uncertain = with_latency(baseline, replace(timed, ratio_to_reference=wide))
    uncertain = replace(
        uncertain, stability=None
    )  # on a machine that is busier now, bench ends: more rounds cannot help

    def rounds(max_ratio: float) -> int:
        standard = Standard(baseline=uncertain, budgets={LATENCY: Budget(metric=LATENCY, max_ratio=max_ratio)})
        report = bench([bundle], reference=model_folder, corpus=long_corpus_file, settings=settings, standard=standard)
        return len(report.candidates[0].latency[0].samples_ms)

    assert rounds(1e30) == 2
    assert rounds(1.05) == 5


def test_a_run_that_is_interrupted_keeps_what_it_has(
    bundle_of: Callable[..., Bundle], model_folder: Path, long_corpus_file: Path
) -> None:
    kept: list[Report] = []
    settings = replace(QUICK, grid=(*QUICK.grid, Workload(batch_size=2, seq_len=8)))

    def stop_at(text: str) -> Callable[[float, str], None]:
        def listen(share: float, note: str) -> None:
            if text in note:
                raise KeyboardInterrupt

        return listen

    late = ("latency 1 x 8", "latency 2 x 8", "profile", "cold start")
    for text, missing in (
        ("comparing", ("fidelity", "fidelity by length", *late)),
        ("sitting 1", late),
        ("cold starts", ("cold start",)),
    ):
        with pytest.raises(KeyboardInterrupt):
            bench(
                [bundle_of("static").folder],
                reference=model_folder,
                corpus=long_corpus_file,
                settings=settings,
                listen=stop_at(text),
                keep=kept.append,
            )
        assert (kept[-1].complete, kept[-1].missing) == (False, missing)
    assert kept[-1].candidates[0].fidelity["mlm.kl_mean"].n > 0
    assert len(kept[-1].candidates[0].latency) == 2
    assert kept[-1].candidates[0].cold_start_ms is None


def test_a_baseline_of_another_model_is_refused_before_anything_is_measured(
    baseline: Report,
    bundle_of: Callable[..., Bundle],
    long_corpus_file: Path,
    config: EncoderConfig,
    tokenizer: Tokenizer,
    tmp_path: Path,
) -> None:
    bundle = bundle_of("static").folder
    other = tmp_path / "other"
    other.mkdir()
    write_checkpoint(other, config, random_tensors(config, Parts(("mlm", "nsp")), seed=1), tokenizer)
    steps: list[str] = []
    with pytest.raises(UsageError, match="baseline is of another model") as caught:
        bench(
            [bundle],
            reference=other,
            corpus=long_corpus_file,
            settings=QUICK,
            standard=Standard(baseline=baseline),
            listen=lambda share, note: steps.append(note),
        )
    assert "--update-baseline" in caught.value.hint
    assert steps == []


def test_an_earlier_bundle_of_another_model_is_refused_before_anything_is_measured(
    bundle_of: Callable[..., Bundle],
    long_corpus_file: Path,
    config: EncoderConfig,
    tokenizer: Tokenizer,
    tmp_path: Path,
) -> None:
    """A retrained model is always near its own float model, and the old bundle is far from it."""
    retrained, candidate = tmp_path / "retrained", tmp_path / "candidate"
    retrained.mkdir()
    write_checkpoint(retrained, config, random_tensors(config, Parts(("mlm", "nsp")), seed=1), tokenizer)
    export(retrained, candidate)
    steps: list[str] = []

    def run(standard: Standard) -> Report:
        return bench(
            [candidate],
            reference=retrained,
            corpus=long_corpus_file,
            settings=QUICK,
            standard=standard,
            listen=lambda share, note: steps.append(note),
        )

    old = bundle_of("static").folder
    with pytest.raises(UsageError, match="is of another float model"):
        run(Standard(against=old))
    assert steps == []
    baseline = run(Standard())
    outcomes = {v.metric: v.outcome for v in judge(run(Standard(baseline=baseline, against=old)), baseline, DEFAULTS)}
    assert outcomes["mlm.top1_agreement"] == "pass"
    assert outcomes["size_bytes"] == "pass"


@pytest.mark.parametrize(
    ("folders", "names"),
    [
        (["a", "b"], ["a", "b"]),
        (["runsA/best", "runsB/best"], ["runsA/best", "runsB/best"]),
        (["x/best", "best"], ["x/best", "here/best"]),
        (["a/", "./a", "b"], ["a", "a (2)", "b"]),
        (["."], ["here"]),
    ],
)
def test_candidates_have_names_of_their_own(
    folders: list[str], names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    found = distinct_names([Path(folder) for folder in folders])
    assert len(set(found)) == len(found)
    assert found == names


def test_two_bundles_of_one_name_are_two_rows(
    bundle_of: Callable[..., Bundle], model_folder: Path, long_corpus_file: Path, tmp_path: Path
) -> None:
    kinds = ("static", "float32")
    for kind in kinds:
        shutil.copytree(bundle_of(kind).folder, tmp_path / kind / "best")
    folders = [tmp_path / kind / "best" for kind in kinds]
    report = bench(folders, reference=model_folder, corpus=long_corpus_file, settings=replace(QUICK, threads=None))
    assert [row.name for row in report.candidates] == ["static/best", "float32/best"]
    verdicts = judge(report, report, Standard().budgets)
    assert {verdict.candidate for verdict in verdicts} == {"static/best", "float32/best"}
    assert not [verdict for verdict in verdicts if verdict.outcome in ("fail", "skipped")]
    assert report.reference.latency[0].threads == load(folders[0]).threads


def test_a_reference_of_fewer_pieces_is_another_model(
    baseline: Report, checkpoint: Checkpoint, model_folder: Path, long_corpus_file: Path, tmp_path: Path
) -> None:
    keep = checkpoint.tokenizer.vocab_size - 40
    for name, make in (("reference", export), ("candidate", quantize)):
        make(model_folder, tmp_path / name, keep_vocab=keep, vocab_corpus=long_corpus_file)
    settings = {"reference": tmp_path / "reference", "corpus": long_corpus_file, "settings": QUICK}
    trimmed = bench([tmp_path / "candidate"], **settings)
    with pytest.raises(UsageError, match="another model"):
        judge(trimmed, baseline, Standard().budgets)
    assert judge(trimmed, trimmed, Standard().budgets)
