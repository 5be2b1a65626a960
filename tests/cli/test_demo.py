"""The first minutes with bertedge: its examples, its demo, its last sentence."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from bertedge.bundle import Bundle
from bertedge.checkpoint import BUILT_IN, locate
from bertedge.cli import demo
from bertedge.cli.bench import bench
from bertedge.cli.example_texts import FIRST, FOLLOWING, MASKED, QUESTIONS, UNRELATED
from bertedge.data.examples import read_examples
from bertedge.errors import FileError
from bertedge.quantization import export, quantize
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


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The built-in classifier in int8 by the default recipe."""
    return quantize(BUILT_IN[1], tmp_path_factory.mktemp("classifier") / "int8", target="portable")


def test_the_built_in_classifier_answers_the_examples_well(classifier: Bundle) -> None:
    for answer, intent in zip(load(classifier.folder).classify(QUESTIONS), QUESTIONS.values(), strict=True):
        assert (answer.label, answer.score > 0.9) == (intent, True)


def test_the_built_in_classifier_in_int8_keeps_labels_and_accuracy(classifier: Bundle, tmp_path: Path) -> None:
    examples = list(read_examples(locate(BUILT_IN[1]) / "questions.csv"))
    texts, right = [one.text for one in examples], [one.values["label"] for one in examples]
    assert len(examples) == 154
    expected, found = (
        [answer.label for answer in load(folder).classify(texts)]
        for folder in (export(BUILT_IN[1], tmp_path / "float").folder, classifier.folder)
    )
    assert sum(a == b for a, b in zip(expected, found, strict=True)) >= 151
    assert sum(a == b for a, b in zip(expected, right, strict=True)) == 142  # what its page says: 0.922
    assert sum(a == b for a, b in zip(found, right, strict=True)) >= 140


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
    out, _ = capsys.readouterr()
    made = Bundle.open(tmp_path / folder)
    commands = re.findall(r"^\$ bertedge (\S+)", out, re.MULTILINE)
    assert list(dict.fromkeys(commands)) == ["quantize", "verify", "fill-mask", "next-sentence", "bench"]
    *_, last = out.rstrip().splitlines()
    words = r"(\S+ % of the best words differ|all best words as in float)"
    assert re.fullmatch(rf"tiny\.int8: (\S+ x smaller|as large as float), .* at 8 tokens, {words}", last)

    demo.show(str(model_folder), folder, measure=quick)  # as ``make demo`` does a second time
    out, err = capsys.readouterr()
    assert "the bundle of an earlier demo is used again" in err
    assert "$ bertedge quantize" not in out
    assert Bundle.open(tmp_path / folder).manifest == made.manifest


def test_a_demo_of_a_classifier_compares_it_on_labelled_texts(
    classifier: Bundle, quick: partial[None], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path("banking.int8")
    questions = locate(BUILT_IN[1]) / "questions.csv"
    demo.show_classifier(BUILT_IN[1], folder, questions, measure=partial(quick, examples=40))
    out, _ = capsys.readouterr()
    commands = re.findall(r"^\$ bertedge (\S+)", out, re.MULTILINE)
    assert list(dict.fromkeys(commands)) == ["quantize", "verify", "classify", "bench"]
    for intent in QUESTIONS.values():
        assert re.search(rf"0\.9\d+ +{intent}", out)
    *_, last = out.rstrip().splitlines()
    assert re.search(r"labels .*, accuracy \S+ % \(float \S+ %\)$", last)


@pytest.mark.usefixtures("quick")
def test_the_demo_says_where_both_bundles_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown: list[Path] = []
    for name in ("show", "show_classifier"):
        monkeypatch.setattr(demo, name, lambda model, folder, *rest, force: shown.append(folder))
    demo.demo(output=tmp_path / "mine.int8")
    assert shown == [tmp_path / "mine.int8", tmp_path / f"{BUILT_IN[1]}.int8"]
    err = capsys.readouterr().err
    assert str(tmp_path) in err.replace("\n", "")
    assert err.rstrip().splitlines()[-1] == "bertedge quantize MODEL -o MODEL.int8"


def test_a_demo_overwrites_nothing(model_folder: Path, quick: partial[None], tmp_path: Path) -> None:
    folder = tmp_path / "tiny.int8"
    folder.mkdir()
    (folder / "thesis.txt").write_text("mine")
    with pytest.raises(FileError):
        demo.show(str(model_folder), folder, measure=quick)
    assert (folder / "thesis.txt").read_text() == "mine"
