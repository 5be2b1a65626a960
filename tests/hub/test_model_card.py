"""The model card: what the hub reads of it, and what it tells a user."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bertedge.bundle import Bundle
from bertedge.errors import UsageError
from bertedge.heads import HEADS
from bertedge.heads.parts import HeadSettings, Parts
from bertedge.heads.sequence_settings import SequenceSettings
from bertedge.hub.front_matter import main_head
from bertedge.hub.model_card import CardFacts, model_card, python_call
from bertedge.pooling import EmbeddingSettings
from bertedge.recipe import read_recipe
from bertedge.report.schema import Report
from bertedge.runtime import BertRuntime
from tests.report.samples import model, report_of
from tests.test_docs import FENCE

NAME = "someone/small-int8"


@pytest.fixture
def bundle(bundle_of: Callable[..., Bundle]) -> Bundle:
    return bundle_of("static")


def front_matter(card: str) -> dict[str, Any]:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed: pip install pyyaml")
    _, head, _ = card.split("---\n", 2)
    return yaml.safe_load(head)


def test_what_the_hub_reads(bundle: Bundle) -> None:
    facts = CardFacts(license="apache-2.0", base_model="google/bert", languages=("en", "no"))
    assert front_matter(model_card(bundle, NAME, facts)) == {
        "language": ["en", "no"],
        "license": "apache-2.0",
        "library_name": "bertedge",
        "pipeline_tag": "fill-mask",
        "base_model": "google/bert",
        "base_model_relation": "quantized",
        "tags": ["bertedge", "onnx", "cpu", "int8", "quantized", "bert"],
    }


def test_what_is_not_known_is_left_out(bundle_of: Callable[..., Bundle]) -> None:
    card = model_card(bundle_of("float32"), NAME, CardFacts())
    assert list(front_matter(card)) == ["library_name", "pipeline_tag", "tags"]
    assert "int8" not in front_matter(card)["tags"]
    assert "No licence is given here." in card
    assert "Speed and fidelity were not measured for this card." in card


def test_any_text_is_yaml(bundle: Bundle) -> None:
    odd = 'on: "x" # \\ é \U0001f600'
    assert front_matter(model_card(bundle, NAME, CardFacts(license=odd)))["license"] == odd


def test_the_task_is_that_of_the_main_head() -> None:
    layers = SequenceSettings(reads="pooler", classifiers=())
    classifier = HeadSettings(sequence_classification=layers)
    embedder = HeadSettings(embedding=EmbeddingSettings(pooling=("mean",), max_seq_length=9))
    cases = [
        (Parts(("mlm", "nsp")), "mlm"),
        (Parts(("nsp",)), "nsp"),
        (Parts(("sequence_classification",), settings=classifier), "sequence_classification"),
        (Parts(()), "embedding"),
        (Parts((), settings=embedder), "embedding"),
        (Parts(("mlm",), settings=embedder), "embedding"),
    ]
    assert [main_head(parts).name for parts, _ in cases] == [name for _, name in cases]


@pytest.mark.parametrize("name", HEADS)
def test_every_head_can_be_called_as_its_card_says(name: str) -> None:
    verb = HEADS[name].verb

    class Called:
        def __getattr__(self, method: str) -> Callable[..., inspect.BoundArguments]:
            return lambda **given: inspect.signature(getattr(BertRuntime, method)).bind(self, **given)

    bound = eval(f"model.{python_call(verb)}", {"model": Called()})
    words = [text for value in bound.arguments.values() for text in (value if isinstance(value, list) else [value])]
    assert {word for word in verb.example if not word.startswith("--")} <= set(words)


def test_its_python_runs(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "someone").mkdir()
    (tmp_path / NAME).symlink_to(bundle.folder)
    code = [code for language, code in FENCE.findall(model_card(bundle, NAME, CardFacts())) if language == "python"]
    assert len(code[0].splitlines()) == 3
    exec(code[0], {})


def test_its_recipe_can_be_used(bundle: Bundle, tmp_path: Path) -> None:
    recipe = next(code for kind, code in FENCE.findall(model_card(bundle, NAME, CardFacts())) if kind == "toml")
    (tmp_path / "recipe.toml").write_text(recipe, encoding="utf-8")
    assert read_recipe(tmp_path / "recipe.toml") == (bundle.manifest.recipe, {})


def measured(bundle: Bundle) -> Report:
    """A report on two bundles, of which one is this."""
    return report_of(replace(model("small-int8"), manifest=bundle.manifest), model("another"))


def test_measured_numbers(bundle: Bundle) -> None:
    card = model_card(bundle, NAME, CardFacts(report=measured(bundle)))
    assert "**small-int8 against float: 4.0 x smaller, 2.0 x faster at 16 tokens, fidelity not measured.**" in card
    assert "### Latency" in card
    assert "| small-int8 |" in card
    assert "another" not in card
    assert "not measured for this card" not in card


def test_a_report_on_another_bundle(bundle: Bundle) -> None:
    with pytest.raises(UsageError, match="no numbers of .*: it measured another") as caught:
        model_card(bundle, NAME, CardFacts(report=report_of(model("another"))))
    assert "bertedge bench" in caught.value.hint
