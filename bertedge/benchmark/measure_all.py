"""``bench``: measures candidates and their float reference in one run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from bertedge.benchmark.bench_settings import BenchSettings, Standard
from bertedge.benchmark.bench_texts import TextFiles
from bertedge.benchmark.measurement import Measurement
from bertedge.errors import UsageError
from bertedge.progress import Listener, no_progress
from bertedge.report.schema import Report
from bertedge.scratch import temporary_folder


def bench(
    candidates: Sequence[str | Path],
    *,
    reference: str | Path,
    corpus: str | Path | None = None,
    data: str | Path | None = None,
    columns: Sequence[str] = (),
    cased: bool | None = None,
    settings: BenchSettings | None = None,
    standard: Standard | None = None,
    listen: Listener = no_progress,
    keep: Callable[[Report], None] = lambda report: None,
) -> Report:
    """Measure size, start, latency and fidelity of bundles against their float model.

    Args:
        reference: a checkpoint, which is exported to a temporary folder, or a float bundle.
        corpus: running text to compare on; default: the text that ships with bertedge.
        data: a file of texts of the model's task. The main numbers are measured on them, and, if they have labels, how
            many answers are right.
        columns: the columns of ``data``; see :func:`bertedge.data.examples.read_examples`.
        cased: whether the tokenizer of a checkpoint keeps capital letters; default: what its files say.
        keep: called with the report so far if the run is interrupted or fails, before the exception is raised again.

    Raises:
        UsageError: the vocabularies of a candidate and the reference differ, or the standard cannot judge it (see
            :func:`bertedge.report.comparable.require_judgeable`).
        BertEdgeError: a model or the corpus cannot be read.
    """
    if not candidates:
        raise UsageError("bench: there is no candidate", "name a bundle")
    with temporary_folder() as scratch:
        run = Measurement(
            candidates,
            reference=reference,
            texts=TextFiles(
                corpus=Path(corpus) if corpus else None, data=Path(data) if data else None, columns=tuple(columns)
            ),
            settings=settings or BenchSettings(),
            standard=standard or Standard(),
            scratch=scratch,
            cased=cased,
        )
        try:
            run.compare(listen)
            run.compare_lengths(listen)
            run.time(listen)
            run.profile(listen)
            run.start(listen)
        except BaseException:  # also Ctrl-C and SIGTERM
            keep(run.report())
            raise
        return run.report()
