"""The first minutes with bertedge: its examples, its demo, its last sentence."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from bertedge.bundle import Bundle
from bertedge.cli import demo
from bertedge.cli.bench import bench
from bertedge.cli.example_texts import FIRST, FOLLOWING, MASKED, UNRELATED
from bertedge.errors import FileError
from bertedge.runtime import load

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def built_in(built_in_of: Callable[[str], Bundle]) -> Bundle:
    """The built-in model in int8 by the default recipe."""
    return built_in_of("portable")


def test_the_built_in_model_answers_the_examples_well(built_in: Bundle) -> None:
    model = load(built_in.folder)
    for text, words in MASKED.items():
        best, *others = (fill.token for fill in model.fill_mask(text, top_k=5)[0])
        assert best in words, text
        assert len({best, *others} & set(words)) >= min(len(words), 2), text
    assert model.next_sentence(*FOLLOWING) > 0.9
    assert model.next_sentence(*UNRELATED) < 0.1


def test_readme_and_docs_show_these_examples() -> None:
    pages = ("README.md", "docs/getting-started.md", "docs/boards.md")
    text = "\n".join((ROOT / page).read_text(encoding="utf-8") for page in pages)
    shown = set(re.findall(r"fill-mask \S+ \"([^\"]+)\"", text))
    assert FIRST in shown
    assert shown <= MASKED.keys()
    assert set(re.findall(r"next-sentence \S+ \"([^\"]+)\" \"([^\"]+)\"", text)) <= {FOLLOWING, UNRELATED}
    assert set(re.findall(r"fill_mask\(\"([^\"]+)\"\)", text)) <= MASKED.keys()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> partial[None]:
    """``bench`` as quick as it can be; the demo runs in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return partial(bench, examples=4, rounds=2, max_rounds=2, seconds=0.0, lengths="1x8", threads=1)


def test_a_demo_keeps_its_bundle_and_says_what_is_next(
    model_folder: Path, quick: partial[None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path("tiny.int8")
    demo.show(str(model_folder), folder, measure=quick)
    out, err = capsys.readouterr()
    made = Bundle.open(tmp_path / folder)
    commands = re.findall(r"^\$ bertedge (\S+)", out, re.MULTILINE)
    assert list(dict.fromkeys(commands)) == ["quantize", "verify", "fill-mask", "next-sentence", "bench"]
    *_, last = out.rstrip().splitlines()
    assert re.fullmatch(
        r"tiny\.int8: (\S+ x smaller|as large as float), .* at 8 tokens, \S+ % of the best words differ", last
    )
    assert "The bundle is kept in tiny.int8." in err
    assert err.rstrip().splitlines()[-2:] == [
        f'bertedge fill-mask tiny.int8 "{FIRST}"',
        "bertedge quantize MODEL -o MODEL.int8",
    ]

    demo.show(str(model_folder), folder, measure=quick)  # as ``make demo`` does a second time
    out, err = capsys.readouterr()
    assert "the bundle of an earlier demo is used again" in err
    assert "$ bertedge quantize" not in out
    assert Bundle.open(tmp_path / folder).manifest == made.manifest


def test_a_demo_overwrites_nothing(model_folder: Path, quick: partial[None], tmp_path: Path) -> None:
    folder = tmp_path / "tiny.int8"
    folder.mkdir()
    (folder / "thesis.txt").write_text("mine")
    with pytest.raises(FileError):
        demo.show(str(model_folder), folder, measure=quick)
    assert (folder / "thesis.txt").read_text() == "mine"
