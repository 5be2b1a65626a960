"""Reports for the tests of what reads them."""

from __future__ import annotations

from dataclasses import replace

from bertedge.encoders import BERT, write_config
from bertedge.evaluate.latency import LatencyReport
from bertedge.evaluate.machine_record import this_machine
from bertedge.evaluate.stability import Stability
from bertedge.manifest import Coverage, FileEntry, GoldenFidelity, Manifest, Provenance
from bertedge.metric import MetricValue
from bertedge.report.schema import SCHEMA_VERSION, CandidateReport, CorpusInfo, Report
from bertedge.report.verdict import Outcome, Verdict

CONFIG = BERT.config(vocab_size=300, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64)
ONE = MetricValue(value=0.5, low=0.4, high=0.6, n=9)
QUIET = Stability(seconds=9.0, stolen=0.0, others=0.01, mhz_before=None, mhz_after=None, drift=1.01, spread=0.02)


def manifest(source_sha256: str = "f" * 64) -> Manifest:
    return Manifest(
        schema_version=1,
        config=write_config(CONFIG),
        target="portable",
        recipe=None,
        heads=("mlm", "nsp"),
        positions="masked",
        row_independent=True,
        inputs=(),
        outputs=(),
        files={"model.onnx": FileEntry(sha256="0", size_bytes=1)},
        coverage=Coverage(macs=1.0, bytes=0.9),
        fidelity=GoldenFidelity(max_prob_diff=0.0, min_cosine=1.0),
        provenance=Provenance(source="big", source_sha256=source_sha256, calibration_sha256=None, versions={}),
        min_onnxruntime="1.21",
    )


def times(*samples_ms: float, ratio: MetricValue = ONE, seq_len: int = 16) -> LatencyReport:
    return LatencyReport(
        batch_size=1,
        seq_len=seq_len,
        threads=2,
        calls=40,
        samples_ms=samples_ms,
        rounds_per_sitting=1,
        p50_ms=samples_ms[0],
        p90_ms=1.1,
        p99_ms=1.1,
        tokens_per_s=15000.0,
        warmup=3,
        excluded=("tokenization",),
        ratio_to_reference=ratio,
    )


def model(
    name: str, size: int = 1_000_000, fidelity: dict[str, MetricValue] | None = None, *latency: LatencyReport
) -> CandidateReport:
    return CandidateReport(
        name=name,
        target="portable",
        size_bytes=size,
        peak_rss_bytes=10**8,
        cold_start_ms=100.0,
        cold_start_samples_ms=(95.0, 98.0, 100.0, 101.0, 103.0),
        coverage=Coverage(macs=1.0, bytes=0.9),
        fidelity=fidelity or {},
        latency=latency or (times(1.05, 1.1),),
        manifest=manifest(),
    )


def report_of(*candidates: CandidateReport) -> Report:
    return Report(
        schema_version=SCHEMA_VERSION,
        machine=replace(this_machine(), target="avx512-vnni"),
        corpus=CorpusInfo(name="text", sha256="0", examples=99, max_length=32, seed=0, next_sentence=False),
        reference=model("big", 4_000_000),
        candidates=candidates or (model("small"),),
        skipped={},
        stability=QUIET,
    )


def verdict(outcome: Outcome, candidate: str = "small", sentence: str = "by so much") -> Verdict:
    return Verdict(candidate=candidate, metric="latency.p50", detail="1 x 16", outcome=outcome, sentence=sentence)
