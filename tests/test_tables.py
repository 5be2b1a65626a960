"""The contract of the tables: what holds for every row."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import is_dataclass
from itertools import product
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np
import pytest

from bertedge.bundle import Bundle
from bertedge.checkpoint import Checkpoint
from bertedge.checkpoint.fit import refuse_other_family
from bertedge.checkpoint.sources import ArraysSource
from bertedge.cli.app import COMMANDS
from bertedge.cli.emulation import SHOWN
from bertedge.cpu import Cpu
from bertedge.encoders import ENCODERS, Encoder, EncoderConfig, names, read_config, write_config
from bertedge.encoders.others import OTHER_CLASSES
from bertedge.encoding import Encoding
from bertedge.engines import AUTO, ENGINES, Engine
from bertedge.engines.plan_model import PlanModel
from bertedge.errors import CheckpointError
from bertedge.evaluate.goals import GOALS, flag_of
from bertedge.evaluate.metrics import METRICS
from bertedge.heads import HEADS, Head
from bertedge.heads.parts import HeadSettings, Parts
from bertedge.heads.question_answering import AnswerSettings
from bertedge.heads.ranking.rank_settings import RankSettings
from bertedge.heads.sequence_settings import Classifier, SequenceSettings
from bertedge.heads.structure import Found
from bertedge.heads.token_classification.tag_settings import TagSettings
from bertedge.heads.verb import REQUIRED
from bertedge.pooling import EmbeddingSettings
from bertedge.predictor import Batch, Row, RowOutputs
from bertedge.quantization import export
from bertedge.quantization.sensitivity import SMOOTH_LOSS
from bertedge.report.budget import DEFAULTS
from bertedge.report.views import OTHER, OVER_LENGTH, TRADE_OFFS, part_name
from bertedge.runtime import BertRuntime, load
from bertedge.target import TARGETS
from bertedge.tokenizer import Tokenizer
from bertedge.weight_range import PAIRED_RANGE
from tests.conftest import KINDS, random_tensors, skip_where_unfit

#: What the checkpoint of a model says about each head.
SETTINGS = HeadSettings(
    sequence_classification=SequenceSettings(
        reads="pooler",
        classifiers=(Classifier(name="", owner="classifier", labels=("sea", "kitchen", "court"), problem="single"),),
    ),
    ranking=RankSettings(
        layers=SequenceSettings(
            reads="pooler",
            classifiers=(Classifier(name="", owner="classifier", labels=("LABEL_0",), problem="multi"),),
        ),
        activation="sigmoid",
    ),
    token_classification=TagSettings(labels=("O", "B-ship", "I-ship"), owner="classifier"),
    question_answering=AnswerSettings(),
    embedding=EmbeddingSettings(pooling=("mean",), max_seq_length=64),
)
ROOT = Path(__file__).parents[1]
SIZES = {
    "vocab_size": 40,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "pad_token_id": 0,
}


@pytest.fixture(params=ENCODERS.values(), ids=ENCODERS.keys())
def encoder(request: pytest.FixtureRequest) -> Encoder:
    return request.param


def test_encoders_are_found_by_their_model_type() -> None:
    assert all(model_type == row.model_type for model_type, row in ENCODERS.items())
    for field in ("title", "class_prefix"):
        assert len({getattr(row, field) for row in ENCODERS.values()}) == len(ENCODERS)


def test_an_encoders_config_is_read_back(encoder: Encoder) -> None:
    for config in (encoder.config(), encoder.config(**SIZES)):
        written = json.loads(json.dumps(write_config(config)))
        assert read_config(written) == config
        del written["model_type"]
        assert read_config(written) == config  # by the name of the class
    assert encoder.architecture.startswith(encoder.class_prefix)
    with pytest.raises(CheckpointError, match=encoder.keys["num_hidden_layers"]):
        encoder.read_config({key: value for key, value in written.items() if key != encoder.keys["num_hidden_layers"]})


def test_an_encoders_faults_are_told_in_the_keys_of_its_file(encoder: Encoder) -> None:
    written = write_config(encoder.config(**SIZES))
    for field in SIZES:
        with pytest.raises(CheckpointError, match=f"config: {encoder.keys[field]} is -1, expected"):
            read_config({**written, encoder.keys[field]: -1})


def test_an_encoders_tensor_names_are_translated(encoder: Encoder) -> None:
    config = encoder.config(**SIZES)
    shapes = names.encoder_shapes(config) | names.pooler_shapes(config)
    for name in shapes:
        assert encoder.names.canonical(name) == name
        assert encoder.names.canonical(encoder.names.written(name)) == name
        assert encoder.names.is_inside(name)
        assert not name.startswith(encoder.names.prefix)
    refuse_other_family("itself", [*map(encoder.names.written, shapes)], encoder)


def test_the_page_of_models_lists_every_family() -> None:
    page = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    rows = [f"| {row.title} | `{row.model_type}` |" for row in ENCODERS.values()]
    assert not [row for row in rows if row not in page]


def test_what_is_refused_has_no_row() -> None:
    """A row comes first, so a class that begins like a row's would never be refused."""
    for row in ENCODERS.values():
        assert not [name for name in OTHER_CLASSES if name.startswith(row.class_prefix)]


@pytest.fixture(params=HEADS.values(), ids=HEADS.keys())
def head(request: pytest.FixtureRequest) -> Head:
    return request.param


def test_heads_have_names_of_their_own() -> None:
    assert all(name == head.name for name, head in HEADS.items())
    for names_of in (
        lambda head: head.metrics,
        lambda head: head.golden(None, pooler=True),
        lambda head: head.lists,
        lambda head: [head.verb.name],
        lambda head: head.output_names("masked"),
    ):
        every = [name for head in HEADS.values() for name in names_of(head)]
        assert len(every) == len(set(every))


def test_a_heads_layers_have_its_tensors(head: Head) -> None:
    config = ENCODERS["bert"].config(**SIZES)
    parts = Parts((head.name,), tied=False, settings=SETTINGS)
    model = parts.structure(head.name, config)
    shapes, layers = head.shapes(model), head.layers(model)
    assert head.in_every_model == (head.architecture is None) == (not layers)
    assert head.in_every_model or head.is_in(Found(config=config, tensors=parts.shapes(config)))
    for layer in layers:
        assert layer.name.split(".")[0] == head.name
        assert sum(shapes[f"{owner}.weight"][0] for owner in layer.owners) == layer.outputs
        assert part_name(layer.name) != OTHER
    assert not layers or head.size(model) == layers[-1].outputs
    assert {layer.name for layer in layers} <= {layer.name for layer in parts.layers(config)}


def test_a_heads_numbers_are_used_everywhere(head: Head) -> None:
    assert {head.smooth_loss, head.main_metric} <= head.metrics.keys() <= METRICS.keys()
    assert all(f"{metric}_drop" in head.metrics for metric in head.kept)
    assert all(head.metrics[metric].better == "higher" for metric in head.trade_offs)
    for rows in (head.budgets, head.trade_offs, head.over_length, head.columns, head.losses):
        assert rows
        assert rows.keys() <= head.metrics.keys()
    assert head.budgets.keys() <= DEFAULTS.keys()
    assert head.trade_offs.items() <= TRADE_OFFS.items()
    assert head.over_length.items() <= OVER_LENGTH.items()
    assert head.columns.items() <= SHOWN.items()
    assert SMOOTH_LOSS[head.name] == head.smooth_loss
    assert head.goals
    page = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    for goal in head.goals:
        assert f"`{flag_of(goal.option)}`" in page
        assert (GOALS[goal.option], goal.head) == (goal, head.name)
        assert goal.metric in head.metrics
        assert goal.is_ceiling == (head.metrics[goal.metric].better == "lower")


@pytest.fixture
def with_the_head(head: Head, config: EncoderConfig, tokenizer: Tokenizer, tmp_path: Path) -> BertRuntime:
    """A float model with a pooler and one head; the names of tensors do not tell all heads apart."""
    parts = Parts((head.name,), pooler=True, settings=SETTINGS)
    source = ArraysSource(random_tensors(config, parts))
    raw = {"architectures": [f"Bert{head.architecture or 'Model'}"]}
    vectors = SETTINGS.embedding if head.in_every_model else None
    checkpoint = Checkpoint(
        name=head.name, config=config, source=source, tokenizer_=tokenizer, raw_config=raw, embedding=vectors
    )
    return load(export(checkpoint, tmp_path / "bundle").folder, threads=1)


def test_a_heads_answers_are_compared_recorded_and_kept(head: Head, with_the_head: BertRuntime) -> None:
    """With those of its own float model: nothing differs."""
    runtime = with_the_head
    settings = runtime.bundle.manifest.parts.settings_of(head.name)
    texts = ["The cat sat on the [MASK].", "Bread needs [MASK] and time."]
    encodings = runtime.tokenizer.encode_many([*zip(texts, texts[::-1], strict=True), *texts])
    batch = batch_of(encodings, mask=runtime.tokenizer.id_of("mask"))
    outputs = runtime.predict(batch)
    read = head.read(batch, outputs, settings)
    groups = head.compare(batch, read, read, settings)
    assert {metric.group for metric in head.metrics.values()} >= groups.keys() > set()
    for name, seen in head.compare_kept(batch, head.keep(batch, read), read, settings).items():
        np.testing.assert_array_equal(seen.rows, groups[name].rows)
    for row in range(len(texts)):
        assert head.change(batch, row, outputs, outputs) is not None
    record = head.record(batch, outputs, {}, settings)
    assert record.keys() == head.golden(settings, pooler=True).keys() <= head.golden(None, pooler=True).keys()
    assert head.lost_lead(record, record, settings) == 0
    same = head.same_answers(batch, record, record, settings)
    assert (same is None) == (not head.answers)
    assert same is None or (same.all() and len(same))
    worst = head.worst(runtime.tokenizer, settings)
    assert (worst is None) == (not head.lists)
    if worst is not None:
        worst.add(batch, read, {name: -array for name, array in read.items()})
        found = worst.found()
        assert found.keys() == head.lists.keys()
        assert all(name.startswith(f"{head.name}.") for name in found)
        assert any(found.values())


def test_a_head_answers_rows_one_by_one_as_together(head: Head, with_the_head: BertRuntime) -> None:
    rows, texts = head.verb.rows, ["the cat [MASK] on the mat", "a ship [MASK]", "the cat [MASK] on the mat"]
    pairs = [(text, f"{text} at dawn") for text in texts]
    kinds = {"never": [texts], "optional": [texts, pairs], "always": [pairs]}
    for items in kinds[rows.second]:
        together = [rows.values(answer) for answer in rows.answers(with_the_head, items)]
        alone = [rows.values(answer) for item in items for answer in rows.answers(with_the_head, [item])]
        assert [*together[0]] == [*rows.names]
        assert str(together) == str(alone)
        assert str(together[0]) == str(together[2])
        assert all(fits(together[0][name], kind) for name, kind in zip(rows.names, rows.types, strict=True))
    assert len(rows.answers(with_the_head, [])) == 0


def fits(value: object, kind: Any) -> bool:
    """Whether a value has a type of :attr:`bertedge.heads.verb.RowAnswers.types`."""
    if get_origin(kind) is list:
        return isinstance(value, list) and all(fits(item, *get_args(kind)) for item in value)
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        return (
            isinstance(value, dict) and [*value] == [*hints] and all(fits(value[name], hints[name]) for name in hints)
        )
    if kind is np.ndarray:
        return isinstance(value, np.ndarray) and value.dtype == np.float32
    return type(value) is kind


def test_a_head_has_a_method_a_command_and_a_page(head: Head) -> None:
    verb = head.verb
    assert callable(getattr(BertRuntime, verb.method))
    needed = [option for option in verb.options if option.default is REQUIRED]
    words = len(verb.example) - 2 * len(needed)
    assert words == len(verb.arguments) or (words > len(verb.arguments) and verb.arguments[-1].many)
    assert [f"--{option.name}" for option in needed] == [word for word in verb.example if word.startswith("--")]
    assert verb.name in COMMANDS
    assert verb.help == COMMANDS[verb.name].__doc__
    pages = [*(ROOT / "docs").glob("**/*.md"), ROOT / "README.md"]
    assert any(f".{verb.method}(" in page.read_text(encoding="utf-8") for page in pages)


def batch_of(encodings: Sequence[Encoding], mask: int) -> Batch:
    """A padded batch of pairs that follow each other, without labels for the masks."""
    width = max(len(encoding.input_ids) for encoding in encodings)
    ids, types = np.zeros((2, len(encodings), width), dtype=np.int64)
    attention = np.zeros_like(ids)
    for row, encoding in enumerate(encodings):
        length = len(encoding.input_ids)
        ids[row, :length], types[row, :length], attention[row, :length] = encoding.input_ids, encoding.token_type_ids, 1
    where = [np.flatnonzero(row == mask) for row in ids]
    most = max(map(len, where))
    positions = np.stack([np.pad(places, (0, most - len(places))) for places in where])
    counts = np.array([len(places) for places in where])
    is_pair = types.any(axis=1)
    labels = {"mlm": np.where(np.arange(most) < counts[:, None], 5, -1), "nsp": np.where(is_pair, 0, -1)}
    return Batch(
        input_ids=ids,
        attention_mask=attention,
        token_type_ids=types,
        masked_positions=positions,
        masked_counts=counts,
        labels=labels,
        hidden=True,
    )


# -- engines ----------------------------------------------------------------------------------------------------------


#: Texts of several lengths, with and without masked positions and hidden states.
ROWS = [
    Row(
        input_ids=np.arange(5, 5 + length),
        token_type_ids=np.arange(length) // 5,
        masked_positions=np.arange(masked),
        hidden=hidden,
    )
    for length, masked, hidden in product((3, 9, 4), (0, 2), (True, False))
]


@pytest.fixture(params=ENGINES.values(), ids=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    return request.param


def test_engines_describe_themselves() -> None:
    cpus = [Cpu(arch=row.arch, features=row.required_features, model=row.name) for row in TARGETS.values()]
    for name, engine in ENGINES.items():
        assert name == engine.name != AUTO
        assert engine.describe()
        assert all(PAIRED_RANGE.within(engine.weight_range(cpu)) for cpu in cpus)
    assert any(engine.automatic for engine in ENGINES.values())


@pytest.mark.parametrize("positions", ["masked", "all"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_engine_gives_the_same_answers(
    engine: Engine, bundle_of: Callable[..., Bundle], kind: str, positions: str
) -> None:
    bundle = bundle_of(kind, positions=positions)
    skip_where_unfit(engine, bundle)
    executor = engine.open(bundle, threads=1)
    together = executor.run(ROWS, copied)
    for row, found in zip(ROWS, together, strict=True):
        (alone,) = executor.run([row], copied)
        assert set(found) - {"hidden_states"} == {"mlm", "nsp", "pooler_output"}
        assert not row.hidden or found["hidden_states"].shape == (len(row.input_ids), bundle.config.hidden_size)
        assert len(found["mlm"]) == len(row.masked_positions)
        assert all(np.array_equal(found[key], alone[key]) for key in found)
    if engine.arithmetic == "graph":
        references = ENGINES["onnxruntime"].open(bundle, threads=1).run(ROWS, copied)
    else:
        references = PlanModel(bundle.folder).run(ROWS, copied)
    for row, mine, reference in zip(ROWS, together, references, strict=True):
        for key in set(reference) - (set() if row.hidden else {"hidden_states"}):
            np.testing.assert_allclose(mine[key], reference[key], rtol=1e-2, atol=1e-2, err_msg=key)


def copied(outputs: RowOutputs) -> RowOutputs:
    return {name: array.copy() for name, array in outputs.items()}


def test_what_is_read_is_returned(engine: Engine, bundle_of: Callable[..., Bundle]) -> None:
    skip_where_unfit(engine, bundle_of("static"))
    executor = engine.open(bundle_of("static"), threads=2)
    assert executor.run([], copied) == []
    assert executor.run(ROWS, lambda outputs: len(outputs["mlm"])) == [len(row.masked_positions) for row in ROWS]
