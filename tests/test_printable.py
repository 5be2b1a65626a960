"""Escape sequences and line breaks in names never reach a terminal, a table or an error as they are."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.table import Table

from bertedge.bundle import Bundle
from bertedge.cli import console
from bertedge.errors import FileError
from bertedge.manifest import file_entries, write_manifest
from bertedge.printable import MOST, differences_in_words, one_line, printable
from bertedge.report.render import markdown_report, rich_report
from tests.cli.test_cli import typed
from tests.report.samples import model, report_of

#: Clears a terminal, sets its title, colours it in 8 bits, turns letters around, pretends to be a line of ours.
HOSTILE = "a\x1b[2J\x1b]0;x\x07\x9b31m\u202eb\x7f"
SHOWN = r"a\x1b[2J\x1b]0;x\x07\x9b31m\u202eb\x7f"


def test_what_cannot_be_shown_is_spelt() -> None:
    assert printable(HOSTILE) == SHOWN
    assert printable("é 漢字 🙂 \t\n עברית") == "é 漢字 🙂 \t\n עברית"
    assert printable("\udcff\ufffe") == r"\udcff\ufffe"
    assert one_line("a\nb\r\nc\u2028d") == r"a\nb\r\nc\u2028d"
    assert len(one_line("x" * 10**6)) < MOST + 10


def test_an_error_is_two_lines_of_readable_length() -> None:
    error = FileError(f"{HOSTILE}\nhint: all is well: " + "x" * 10**5, "h\n")
    assert error.message.startswith(SHOWN + r"\nhint: all is well")
    assert len(error.message) < MOST + 10
    assert len(str(error).splitlines()) == 2


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    def show(*things: object) -> str:
        stream = io.StringIO()
        console._plain(width=200, file=stream, force_terminal=False).print(*things)
        return stream.getvalue()

    return show


def test_lines_and_tables(printed: Callable[..., str]) -> None:
    table = Table(HOSTILE, title=HOSTILE)
    table.add_row(HOSTILE)
    for thing in (HOSTILE, table, rich_report(replace(report_of(model(HOSTILE)), complete=False, missing=(HOSTILE,)))):
        text = printed(thing)
        assert SHOWN in text
        assert text == printable(text)


def test_json_escapes_what_terminals_obey(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_json({"name": HOSTILE, "word": "é"})
    text = capsys.readouterr().out
    assert text == printable(text)
    assert json.loads(text) == {"name": HOSTILE, "word": "é"}


def test_markdown_shows_a_name_as_it_is() -> None:
    report = report_of(model("a\n# b <img src=x> [c](http://d) `e` *f* | g" + HOSTILE))
    report = replace(report, corpus=replace(report.corpus, name="x\n\n# y <b>"), skipped={"nsp": "*z*"})
    text = markdown_report(report)
    assert r"a # b \<img src=x> \[c\](http://d) \`e\` \*f\* \| g" in text
    assert r"x # y \<b>" in text
    assert text == printable(text)
    assert "\n# " not in text


def test_info_shows_what_a_manifest_says(bundle_of: Callable[..., Bundle], tmp_path: Path) -> None:
    bundle = Bundle.open(shutil.copytree(bundle_of("dynamic").folder, tmp_path / "bundle"))
    provenance = replace(bundle.manifest.provenance, source=HOSTILE, versions={HOSTILE: HOSTILE})
    reasons = {HOSTILE: HOSTILE}
    write_manifest(bundle.folder, replace(bundle.manifest, provenance=provenance, layer_reasons=reasons))
    for arguments in ([], ["--json"]):
        done = typed("info", bundle.folder, *arguments)
        assert done.returncode == 0, done.stderr
        assert done.stdout == printable(done.stdout)
        assert "[2J" in done.stdout


def test_a_tokens_escape_sequence(bundle_of: Callable[..., Bundle], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(bundle_of("dynamic").folder, tmp_path / "bundle"))
    raw = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    vocabulary = raw["model"]["vocab"]
    special = {token["content"] for token in raw["added_tokens"]}
    raw["model"]["vocab"] = {t if t in special else f"\x1b[31m{t}": i for t, i in vocabulary.items()}
    (folder / "tokenizer.json").write_text(json.dumps(raw), encoding="utf-8")
    (folder / "manifest.json").unlink()
    write_manifest(folder, replace(bundle_of("dynamic").manifest, files=file_entries(folder)))
    for arguments in ([], ["--json"]):
        done = typed("fill-mask", folder, "a [MASK]", *arguments)
        assert done.returncode == 0, done.stderr
        assert done.stdout == printable(done.stdout)
        assert "31m" in done.stdout


def test_losses_in_words() -> None:
    labels = differences_in_words("labels")
    assert [labels(equal) for equal in (1.0, 0.99971, 0.9961, 0.87)] == [
        "all labels as in float",
        "under 0.1 % of the labels differ",
        "0.4 % of the labels differ",
        "13 % of the labels differ",
    ]
