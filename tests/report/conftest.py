"""A report as bench measures it, and the same with the worst texts that anybody could give it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bertedge.benchmark import BenchSettings, bench
from bertedge.bundle import Bundle
from bertedge.evaluate.latency import Workload
from bertedge.evaluate.study import Effort
from bertedge.heads.cases import Answer, Case, Part, Passage
from bertedge.report.html import html_report
from bertedge.report.schema import Report, Run

#: Markup, quotes, formulas, right-to-left text and its overrides, pictures, a word without an end, half a surrogate.
HOSTILE = (
    "<script>document.title='taken'</script>",
    '"><img src=x onerror="document.title=\'taken\'">',
    "</style></title></svg><b>",
    "{{ 7 * 7 }} {% raw %}",
    "$\\frac{1}{0}$ _hidden & &amp; 'quoted' \"twice\"",
    "مرحبا بالعالم \u202eabc\u202c שלום",
    "👩‍👩‍👧‍👦🏳️‍🌈 日本語",
    "w" * 400,
    "half \ud800 pair \x07\x00",
)


@pytest.fixture(scope="session")
def measured(bundle_of: Callable[..., Bundle], model_folder: Path, corpus_file: Path) -> Report:
    """The tiny model and two candidates."""
    grid = tuple(Workload(batch_size=b, seq_len=s) for b, s in ((1, 16), (1, 48), (2, 16)))
    report = bench(
        [bundle_of("static").folder, bundle_of("dynamic").folder],
        reference=model_folder,
        corpus=corpus_file,
        settings=BenchSettings(
            examples=12, max_length=48, effort=Effort(rounds=5, max_rounds=5, seconds=0), grid=grid, threads=1
        ),
    )
    return replace(report, run=Run(command="bertedge bench a b --reference c", ended="2026-01-31T12:00:00+00:00"))


@pytest.fixture(scope="session")
def measured_page(measured: Report) -> str:
    """Drawn once, since that takes a second."""
    return html_report(measured)


@pytest.fixture(scope="session")
def hostile_page(hostile: Report) -> str:
    return html_report(hostile)


@pytest.fixture(scope="session")
def hostile(measured: Report) -> Report:
    """The same with hostile text wherever text comes from outside."""
    guesses = tuple(Answer(text=text, share=0.2, right=place == 1) for place, text in enumerate(HOSTILE[:5]))
    numbers = tuple(Answer(text=text, value=-1e9) for text in HOSTILE[:2])
    judged = tuple(
        Case(
            texts=(Passage(name=text, parts=tuple(Part(text=text, mark=bool(i % 2)) for i in range(5))),) * 2,
            expected=text,
            note=text,
            reference=guesses,
            candidate=numbers,
        )
        for text in HOSTILE
    )
    cases = {"mlm.flips": judged, HOSTILE[0]: tuple(replace(c, candidate=c.reference[:1]) for c in judged)}
    return replace(
        measured,
        reference=replace(measured.reference, name=HOSTILE[0]),
        candidates=tuple(
            replace(candidate, name=HOSTILE[1 + place], disagreements=cases if place == 0 else {})
            for place, candidate in enumerate(measured.candidates * 4)  # more models than there are shapes
        ),
        corpus=replace(measured.corpus, name=HOSTILE[0] + HOSTILE[8]),
        skipped={"nsp": HOSTILE[1]},
        run=Run(command=" ".join(HOSTILE), ended="2026-01-31T12:00:00+00:00"),
    )
