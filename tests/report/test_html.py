"""The page: its structure, its texts, its colours. How it looks is for test_browser.py."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertedge.heads.cases import Part, Passage, passage
from bertedge.metric import MetricValue
from bertedge.report.baseline import update_baseline
from bertedge.report.budget import DEFAULTS
from bertedge.report.charts import length_chart, trade_off_chart
from bertedge.report.html import columns_of, html_report
from bertedge.report.schema import Report, read_report, write_report
from bertedge.report.summary import summary
from bertedge.report.svg import COLORS, LINE
from bertedge.report.verdict import OUTCOMES, Verdict
from bertedge.report.views import Point, is_share
from bertedge.report.words import breakable, head, running, shortened, tail
from tests.report.conftest import HOSTILE

VOID = {"meta", "br", "wbr", "img", "link", "input", "hr"}


class Outline(HTMLParser):
    """Tags with their attributes and texts; fails on tags that are not closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module", params=["measured_page", "hostile_page"])
def outline(request: pytest.FixtureRequest) -> Outline:
    return Outline(request.getfixturevalue(request.param))


def test_the_page_has_every_part(measured: Report, measured_page: str) -> None:
    outline = Outline(measured_page)
    sections = [attributes["id"] for attributes in outline.all("section")]
    assert sections == ["summary", "trade-off", "latency", "fidelity", "time", "bytes", "worst", "provenance"]
    links = [attributes["href"] for attributes in outline.all("a")]
    assert links == [f"#{section}" for section in sections]
    text = "".join(outline.text)
    for words in (
        measured.machine.cpu,
        measured.machine.onnxruntime,
        measured.corpus.sha256,
        "bertedge bench a b --reference c",
        "2026-01-31 12:00 UTC",
        *(m.name for m in measured.candidates),
        measured.candidates[0].manifest.provenance.source_sha256,
        measured.candidates[0].disagreements["mlm.words"][0].expected,
    ):
        assert words in text


def test_headings_ids_tables_and_pictures_are_as_readers_need_them(outline: Outline) -> None:
    levels = [int(tag[1]) for tag, _ in outline.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    ids = [attributes["id"] for _, attributes in outline.tags if "id" in attributes]
    assert [one for one, count in Counter(ids).items() if count > 1] == []
    assert all(attributes.get("scope") in ("col", "row") for attributes in outline.all("th"))
    assert len(outline.all("caption")) == len(outline.all("table")) > 3
    pictures = [attributes for attributes in outline.all("div") if attributes.get("role") == "img"]
    assert len(pictures) >= 9
    assert all(len(picture["aria-label"] or "") > 40 for picture in pictures)
    hidden = [svg for svg in outline.all("svg") if svg.get("aria-hidden") == "true"]
    assert len(outline.all("svg")) == len(hidden) + len(pictures)
    for _, attributes in outline.tags:
        for value in attributes.values():
            for target in re.findall(r"^#([\w-]+)$|url\(#([\w-]+)\)", value or ""):
                assert "".join(target) in ids


def test_the_page_loads_nothing_and_runs_nothing(outline: Outline) -> None:
    tags = {tag for tag, _ in outline.tags}
    assert not tags & {"script", "link", "img", "iframe", "object", "embed", "base", "form", "image", "foreignobject"}
    for _, attributes in outline.tags:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("href", "xlink:href", "src"):
            assert (attributes.get(name) or "#").startswith("#")
    (policy,) = [a["content"] for a in outline.all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"
    (style,) = re.findall(r"<style>(.*?)</style>", html_report_style(), re.S) or [""]
    assert "http" not in style
    assert "@import" not in style


def html_report_style() -> str:
    return f"<style>{files('bertedge.report').joinpath('templates/report.css').read_text(encoding='utf-8')}</style>"


def test_hostile_text_stays_text(hostile_page: str) -> None:
    page = hostile_page
    page.encode("utf-8")
    text = "".join(Outline(page).text)
    for words in HOSTILE[:7]:
        assert words in text
    assert "w" * 200 in text
    assert "\\ud800" in text
    assert "{{ 7 * 7 }}" in text


@settings(max_examples=200)
@given(st.text(max_size=600))
def test_any_text_is_escaped_and_kept(text: str) -> None:
    shown = str(running(text))
    outline = HTMLParser()
    found: list[str] = []
    outline.handle_data = found.append  # type: ignore[method-assign]
    outline.handle_starttag = lambda tag, attrs: found.append("" if tag == "span" else f"<{tag}>")  # type: ignore[method-assign]
    outline.feed(shown)
    outline.close()
    assert "".join(found).replace("\r\n", "\n") == text.replace("\r\n", "\n")
    for cut in (head(text), tail(text)):
        assert cut == text or "…" in cut
        assert len(cut) <= max(len(text), 1) + 2


def test_of_a_long_text_what_is_around_its_marks_is_shown() -> None:
    long, mark = Part(text="word " * 200), Part(text="here" * 200, mark=True)

    def shown(text: Passage) -> list[str]:
        return [part.text for part in shortened(text)]

    before, marked, after = shown(Passage(parts=(long, mark, long)))
    assert before.startswith("… word ")
    assert before.endswith(" ")  # the parts make up the text
    assert marked == mark.text
    assert after.endswith(" word …")
    (_, _, between, _) = shown(Passage(parts=(mark, mark, long, mark)))
    assert between.startswith("word ")
    assert between.endswith(" ")
    assert between.count("…") == 2
    assert [shown(passage(long.text, from_end=end))[0].startswith("…") for end in (True, False)] == [True, False]
    assert shown(passage("short")) == ["short"]


def test_names_are_broken_between_their_words_only() -> None:
    assert breakable("mlm.top1_<b>") == "mlm.<wbr>top1_<wbr>&lt;b&gt;<wbr>"


def test_verdicts_stand_at_the_top_with_a_sign_besides_the_colour(measured: Report, measured_page: str) -> None:
    assert "Verdicts" not in measured_page
    said = [
        Verdict(candidate="a", metric="latency.p50", detail="1 x 16", outcome=one, sentence=f"<b>{one}</b> & more")
        for one in OUTCOMES
    ]
    page = html_report(measured, said)
    outline = Outline(page)
    assert outline.all("section")[0]["id"] == "verdicts"
    text = "".join(outline.text)
    for sign, outcome in (("✓", "pass"), ("✗", "fail"), ("?", "inconclusive"), ("–", "skipped")):
        assert f"{sign} {outcome}" in text
    assert "<b>fail</b> & more" in text
    assert "latency.p50 1 x 16" in text
    assert "1 pass, 1 fail, 1 inconclusive, 1 skipped" in text


def test_failures_stand_first(measured: Report) -> None:
    said = [Verdict(candidate="a", metric="size_bytes", detail="", outcome=one, sentence="words") for one in OUTCOMES]
    outline = Outline(html_report(measured, [*said, *said]))
    shown = [attributes["class"] for attributes in outline.all("li") if attributes.get("class") in OUTCOMES]
    assert shown == [outcome for outcome in ("fail", "inconclusive", "skipped", "pass") for _ in range(2)]


@pytest.mark.parametrize("tiles", range(3, 20))
def test_no_tile_is_alone_in_its_row(tiles: int) -> None:
    assert tiles % columns_of(tiles) != 1
    assert f".by-{columns_of(tiles)} " in html_report_style()


def test_the_tiles_of_a_page_are_in_these_columns(measured: Report, measured_page: str) -> None:
    page = measured_page
    cards = re.findall(r'<dl class="facts by-(\d)">(.*?)</dl>', page, re.S)
    assert len(cards) == len(measured.candidates)
    for columns, card in cards:
        assert int(columns) == columns_of(card.count("<dt>"))
    for sentence in summary(measured):
        assert sentence.partition(": ")[2].replace(" %", "\u00a0%") in page


def test_a_wide_table_says_that_there_is_more(measured_page: str) -> None:
    parts = re.split(r"(?=<table)", measured_page)
    for before, table in pairwise(parts):
        columns = table.split("</thead>")[0].count("<th ")
        cue = re.search(r"This table has (\d+) columns: scroll it sideways", before[-400:])
        assert (columns > 3) == bool(cue)
        assert cue is None or int(cue[1]) == columns


def test_times_of_operators_have_intervals(measured_page: str) -> None:
    page = measured_page
    number = r"\d+(?:\.\d+)?"
    assert re.search(rf"Add: tiny-bert {number} \({number} to {number}\)", page)
    assert re.search(r"<td>\d\.\d{3} \(\d\.\d{3} to \d\.\d{3}\)</td>", page)


def test_an_axis_that_does_not_start_at_nothing_says_so(measured: Report) -> None:
    high = MetricValue(value=0.97, low=0.965, high=0.975, n=99)
    low = MetricValue(value=0.02, low=0.0, high=0.05, n=99)
    for value, cut in ((high, True), (low, False)):
        points = [
            Point(series=i, name=str(i), ms=ms, value=value.value, low=value.low, high=value.high)
            for i, ms in enumerate((0.0, 1.0))
        ]
        picture = trade_off_chart("t", points, latency="one text", metric="agreement")
        assert ("axis starts at 96" in picture.svg) == cut
        assert ("axis starts at" in picture.svg, "axis starts at" in picture.words) == (cut, cut)
        lines = {1: [(16, value), (32, value)]}
        assert ("axis starts at" in length_chart("l", lines, ["f", "c"], metric="m", share=True).words) == cut


def test_close_times_have_few_ticks() -> None:
    points = [
        Point(series=i, name=str(i), ms=ms, value=0.9, low=0.9, high=0.9) for i, ms in enumerate((0.09225, 0.09385))
    ]
    picture = trade_off_chart("t", points, latency="one text", metric="agreement")
    assert len(re.findall(r">0\.09\d+<", picture.svg)) in range(2, 6)


def test_numbers_that_are_no_shares_are_no_percent() -> None:
    cosine = MetricValue(value=0.9987, low=0.998, high=0.9993, n=99)
    kl = MetricValue(value=0.0012, low=0.001, high=0.0014, n=99)
    for value, cut in ((cosine, True), (kl, False)):
        picture = length_chart("l", {1: [(16, value), (32, value)]}, ["f", "c"], metric="m", share=False)
        assert " %" not in picture.svg
        assert ("axis starts at 0.99" in picture.svg) == cut
    assert is_share("mlm.top1_agreement")
    assert not is_share("mlm.kl_mean")


def test_a_report_with_nothing_but_sizes_is_a_page_too(measured: Report) -> None:
    bare = [
        replace(
            model, fidelity={}, latency=(), by_length=(), disagreements={}, profile=None
        )
        for model in (measured.reference, *measured.candidates)
    ]  # fmt: skip
    report = replace(measured, reference=bare[0], candidates=tuple(bare[1:]), run=None)
    outline = Outline(html_report(report))
    assert [attributes["id"] for attributes in outline.all("section")] == [
        "summary", "latency", "fidelity", "bytes", "provenance",
    ]  # fmt: skip


def test_a_run_that_was_interrupted_says_so(measured: Report) -> None:
    unknown = replace(measured.candidates[0], peak_rss_bytes=None, cold_start_ms=None)
    report = replace(measured, candidates=(unknown,), complete=False, missing=("cold start",))
    text = "".join(Outline(html_report(report)).text)
    assert "the run was interrupted before it measured cold start." in text


def test_the_bundle_to_judge_by_is_in_every_picture(measured: Report) -> None:
    report = replace(measured, candidates=measured.candidates[:1], against=measured.candidates[1])
    outline = Outline(html_report(report))
    assert len(outline.all("symbol")) == 3
    assert "".join(outline.text).count("baseline") >= 3
    labels = [attributes.get("aria-label") or "" for attributes in outline.all("div")]
    described = [label for label in labels if label.startswith("Latency of ")]
    assert len(described) == 3
    assert all(measured.candidates[1].name in text for text in described)


def test_a_baseline_keeps_what_can_be_judged(measured: Report, tmp_path: Path) -> None:
    update_baseline(tmp_path / "baseline.json", measured, "the first", dict(DEFAULTS))
    kept = read_report(tmp_path / "baseline.json")
    assert kept.run is None
    for model, was in zip(kept.candidates, measured.candidates, strict=True):
        assert (model.fidelity, model.latency, model.manifest) == (was.fidelity, was.latency, was.manifest)
        assert (model.by_length, model.disagreements, model.profile) == ((), {}, None)


def test_json_and_page_say_the_same(measured: Report, measured_page: str, tmp_path: Path) -> None:
    write_report(tmp_path / "report.json", measured)
    kept = read_report(tmp_path / "report.json")
    assert kept == measured
    assert html_report(kept) == measured_page
    raw = json.loads((tmp_path / "report.json").read_text())["candidates"][0]
    assert {"by_length", "disagreements", "profile", "manifest"} <= raw.keys()


def palette(theme: str) -> dict[str, str]:
    css = html_report_style()
    light, dark = css.split("@media (prefers-color-scheme: dark)")[:2]
    pattern = re.compile(r"--([\w-]+): (#[0-9a-f]{6})")
    colors = dict(pattern.findall(light))
    return colors if theme == "light" else colors | dict(pattern.findall(dark.split("@media")[0]))


def contrast(one: str, other: str) -> float:
    """WCAG 2.2, contrast ratio."""

    def luminance(color: str) -> float:
        channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_contrast(theme: str) -> None:
    colors = palette(theme)
    for ink in ("ink", "muted", "accent", "pass", "fail", "unsure"):
        for ground in ("page", "card"):
            assert contrast(colors[ink], colors[ground]) >= 4.5, (ink, ground)
    assert contrast(colors["mark-ink"], colors["mark"]) >= 4.5
    assert contrast(colors["ink"], colors["bar"]) >= 4.5
    for color in (LINE, *COLORS):
        assert contrast(color, colors["card"]) >= 3, color


def test_models_differ_in_shape(hostile_page: str) -> None:
    page = hostile_page
    shapes = [
        "".join(re.findall(r' d="([^"]+)"', symbol)) + ("hollow" if symbol.count("fill: none") > 2 else "")
        for symbol in re.findall(r"<symbol .*?</symbol>", page, re.S)
    ]
    assert len(shapes) == 9
    assert len(set(shapes[:8])) == 8
