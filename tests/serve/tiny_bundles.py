"""Tiny bundles that have every head between them, each in a folder of its name."""

from __future__ import annotations

from pathlib import Path

from bertedge.checkpoint import Checkpoint
from bertedge.checkpoint.sources import ArraysSource
from bertedge.encoders import EncoderConfig
from bertedge.heads.parts import HeadSettings, Parts
from bertedge.heads.question_answering import AnswerSettings
from bertedge.heads.ranking.rank_settings import RankSettings
from bertedge.heads.sequence_settings import Classifier, SequenceSettings
from bertedge.heads.structure import NamedClassifier
from bertedge.heads.token_classification.tag_settings import TagSettings
from bertedge.quantization import export
from bertedge.tokenizer import Tokenizer
from tests.conftest import random_tensors


def _classifiers(*labels: str) -> SequenceSettings:
    problem = "single" if len(labels) > 1 else "multi"
    classifier = Classifier(name="", owner="classifier", labels=labels, problem=problem)
    return SequenceSettings(reads="pooler", classifiers=(classifier,))


#: Name -> what the model has.
MODELS = {
    "words": Parts(("mlm", "nsp")),
    "labels": Parts(
        ("sequence_classification",), settings=HeadSettings(sequence_classification=_classifiers("a", "b", "c"))
    ),
    "several": Parts(
        ("sequence_classification",),
        settings=HeadSettings(
            sequence_classification=SequenceSettings(
                reads="pooler",
                classifiers=tuple(
                    Classifier(name=name, owner=name, labels=("LABEL_0", "LABEL_1"), problem="single")
                    for name in ("place", "mood")
                ),
            )
        ),
    ),
    "tags": Parts(
        ("token_classification",),
        settings=HeadSettings(token_classification=TagSettings(labels=("O", "PER"), owner="classifier")),
    ),
    "answers": Parts(
        ("question_answering",), settings=HeadSettings(question_answering=AnswerSettings(owner="qa_outputs"))
    ),
    "ranks": Parts(
        ("ranking",),
        settings=HeadSettings(ranking=RankSettings(layers=_classifiers("LABEL_0"), activation="sigmoid")),
    ),
}


def make_bundles(root: Path, config: EncoderConfig, tokenizer: Tokenizer) -> dict[str, Path]:
    """Export every model to a folder of its name."""
    for name, parts in MODELS.items():
        settings = parts.settings.sequence_classification
        named = (
            {one.name: NamedClassifier(tensor=one.owner) for one in settings.classifiers if one.name}
            if settings
            else {}
        )
        source = ArraysSource(random_tensors(config, parts))
        made = Checkpoint(name=name, config=config, source=source, tokenizer_=tokenizer, classifiers=named)
        export(made, root / name)
    return {name: root / name for name in MODELS}
