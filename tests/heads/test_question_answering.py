"""The head that finds answers: as in ``transformers`` for every family, and the whole way through a bundle."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
import torch
from safetensors.numpy import load_file, save_file
from tokenizers import processors
from transformers import AutoConfig, AutoModelForQuestionAnswering, BertTokenizerFast

from bertedge.checkpoint import Checkpoint
from bertedge.data.batches import Layout
from bertedge.data.corpus import tokenize_corpus
from bertedge.data.questions import LONGEST_QUESTION
from bertedge.data.task_text import read_task_text
from bertedge.data.text_source import read_text
from bertedge.encoders import ENCODERS
from bertedge.errors import CheckpointError, CorpusError, UnknownTextWarning, UsageError
from bertedge.evaluate.fidelity import QUESTIONS, evaluation_batches, kinds_of_texts, measure_fidelity
from bertedge.example import Example
from bertedge.heads import HEADS
from bertedge.heads.question_answering import HITS, AnswerSettings
from bertedge.heads.question_answering.answer_spans import Answer, Window, log_boundaries
from bertedge.heads.text_model import row_of
from bertedge.predictor import Batch
from bertedge.quantization import export, quantize
from bertedge.recipe import Dynamic, QuantizationRecipe
from bertedge.runtime import BertRuntime, load
from bertedge.runtime.verify import verify
from bertedge.tokenizer import Tokenizer
from tests.cli.test_cli import typed
from tests.conftest import DOCUMENTS
from tests.encoders.test_families import FAMILIES, SIZES
from tests.heads.test_answer_spans import reference

NAME = "question_answering"
HEAD = HEADS[NAME]
QUESTION = "where did the ship go?"
SENTENCES = [sentence for document in DOCUMENTS for sentence in document]
CONTEXT, LONG = " ".join(SENTENCES[4:7]), " ".join(SENTENCES)
STATIC = QuantizationRecipe()
SETTINGS: dict[str, dict[str, Any]] = {"bert": SIZES, **FAMILIES}


def without_segments(tokenizer: Tokenizer) -> Tokenizer:
    """With two special tokens between the texts of a pair, as RoBERTa has them."""
    backend = tokenizers.Tokenizer.from_str(tokenizer._json)
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] [SEP] $B [SEP]",
        special_tokens=[(token, tokenizer.vocabulary()[token]) for token in ("[CLS]", "[SEP]")],
    )
    return Tokenizer(backend, max_length=tokenizer.max_length, own_pipeline=True)


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer) -> Callable[[str], Path]:
    """Make, or find again, a tiny random model of a family as ``transformers`` saves it."""

    @cache
    def make(family: str) -> Path:
        folder = tmp_path_factory.mktemp("model") / family
        torch.manual_seed(0)
        ids = {"vocab_size": tokenizer.vocab_size, "pad_token_id": tokenizer.id_of("pad")}
        config = AutoConfig.for_model(family, max_position_embeddings=64, **ids, **SETTINGS[family])
        model = AutoModelForQuestionAnswering.from_config(config)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                is_norm = "norm" in name.lower() and name.endswith("weight")
                parameter.copy_(torch.randn_like(parameter) / 5 + is_norm)
        model.save_pretrained(folder)
        (tokenizer if ENCODERS[family].segments > 1 else without_segments(tokenizer)).save(folder)
        return folder

    return make


@pytest.fixture(scope="module")
def runtime_of(
    tmp_path_factory: pytest.TempPathFactory, folder_of: Callable[[str], Path]
) -> Callable[..., BertRuntime]:
    """Make, or find again, a bundle of a family: without a recipe its float bundle."""

    @cache
    def make(family: str, positions: Any = "masked", recipe: QuantizationRecipe | None = None) -> BertRuntime:
        folder = tmp_path_factory.mktemp("bundle") / "bundle"
        if recipe is None:
            export(folder_of(family), folder, positions=positions)
        else:
            text = folder.with_name("text.txt")
            text.write_text("\n\n".join("\n".join(document) for document in DOCUMENTS * 3) + "\n", encoding="utf-8")
            quantize(folder_of(family), folder, positions=positions, recipe=recipe, calibration=text)
        return load(folder, threads=1)

    return make


@torch.no_grad()
def theirs(folder: Path, encoding: Any) -> np.ndarray:
    """The logits (S, 2) of ``transformers`` for an encoding of ``tokenizers``."""
    model = AutoModelForQuestionAnswering.from_pretrained(folder, attn_implementation="eager").eval()
    output = model(input_ids=torch.tensor([encoding.ids]), token_type_ids=torch.tensor([encoding.type_ids]))
    return torch.stack([output.start_logits[0], output.end_logits[0]], dim=-1).numpy()


def test_outputs_have_the_names_that_optimum_reads(runtime_of: Callable[..., BertRuntime]) -> None:
    assert set(runtime_of("bert").bundle.manifest.outputs) == {"question_answering_logits", "hidden_states"}
    outputs = set(runtime_of("bert", "all").bundle.manifest.outputs)
    assert outputs == {"start_logits", "end_logits", "last_hidden_state"}


@pytest.mark.parametrize("top", [1, 4])
@pytest.mark.parametrize("context", [CONTEXT, LONG], ids=["short", "long"])
def test_answers_are_those_of_a_search_over_all_windows(
    top: int, context: str, folder_of: Callable[[str], Path], runtime_of: Callable[..., BertRuntime]
) -> None:
    """Windows as ``transformers`` cuts them, the model of ``transformers``, and every span in turn."""
    folder = folder_of("bert")
    tokens = BertTokenizerFast.from_pretrained(folder)(
        QUESTION,
        context,
        truncation="only_second",
        max_length=64,
        stride=32,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    assert (len(tokens.encodings) > 2) == (context == LONG)
    found: dict[tuple[int, int], float] = {}
    for encoding in tokens.encodings:
        logits = theirs(folder, encoding)
        places = [place for place, text in enumerate(encoding.sequence_ids) if text == 1]
        characters = [encoding.word_to_chars(encoding.word_ids[place], 1) for place in places]
        window = Window(tokens=range(places[0], places[-1] + 1), characters=np.array(characters))
        for span, score in reference(window, logits, 15).items():
            found[span] = max(score, found.get(span, 0.0))
    expected = sorted(found.items(), key=lambda item: -item[1])[:top]
    answers = runtime_of("bert").answer(QUESTION, context, top=top)
    assert [(answer.start, answer.end) for answer in answers] == [span for span, _ in expected]
    np.testing.assert_allclose([a.score for a in answers], [score for _, score in expected], atol=1e-5)
    assert [answer.text for answer in answers] == [context[one.start : one.end] for one in answers]


def test_one_and_several_questions(runtime_of: Callable[..., BertRuntime]) -> None:
    runtime = runtime_of("bert")
    one = runtime.answer(question=QUESTION, context=CONTEXT)
    assert isinstance(one, Answer)
    other = runtime.answer("who spoke?", CONTEXT)
    assert runtime.answer([QUESTION, "who spoke?"], CONTEXT) == [one, other]
    assert runtime.answer(QUESTION, [CONTEXT, LONG]) == [one, runtime.answer(QUESTION, LONG)]
    assert runtime.answer((q for q in [QUESTION]), [CONTEXT], top=2) == [runtime.answer(QUESTION, CONTEXT, top=2)]
    assert runtime.answer([], []) == []
    short = runtime.answer(QUESTION, CONTEXT, top=50, longest=1, whole_words=False)
    assert all(len(runtime.tokenizer.token_ids(answer.text)) == 1 for answer in short)


def test_contexts_without_segments(runtime_of: Callable[..., BertRuntime]) -> None:
    runtime = runtime_of("roberta")
    assert runtime.tokenizer.template.pair.count == 4
    for context in (CONTEXT, LONG):
        answers = runtime.answer(QUESTION, context, top=20)
        assert len(answers) == 20
        assert [answer.text for answer in answers] == [context[one.start : one.end] for one in answers]


def test_no_answer_is_one_of_the_answers(runtime_of: Callable[..., BertRuntime]) -> None:
    runtime = runtime_of("bert")
    answers = runtime.answer(QUESTION, CONTEXT, top=1000, no_answer=True)
    (nothing,) = [answer for answer in answers if not answer.text]
    assert (nothing.start, nothing.end) == (0, 0)
    encoding = runtime.tokenizer.encode(QUESTION, CONTEXT)
    (logits,) = runtime.runner.run([row_of(encoding, hidden=True)], lambda result: result[NAME].copy())
    start = encoding.sequence_ids.index(1)
    boundaries = log_boundaries(logits, range(start, start + encoding.sequence_ids.count(1)))
    assert nothing.score == pytest.approx(float(np.exp(boundaries[0].sum())), rel=1e-4)
    assert all(answer.text for answer in runtime.answer(QUESTION, CONTEXT, top=1000))


@pytest.mark.parametrize("positions", ["masked", "all"])
@pytest.mark.parametrize("recipe", [STATIC, QuantizationRecipe(method=Dynamic())], ids=["static", "dynamic"])
def test_an_int8_bundle_is_verified(
    positions: str, recipe: QuantizationRecipe, runtime_of: Callable[..., BertRuntime]
) -> None:
    runtime = runtime_of("bert", positions, recipe)
    assert verify(runtime).passed
    alone = [runtime.answer(QUESTION, context) for context in (CONTEXT, LONG)]
    assert runtime.answer(QUESTION, [CONTEXT, LONG]) == alone
    batch = batch_of(runtime, [(QUESTION, CONTEXT), ("who spoke?", LONG[:40])])
    outputs = runtime.predict(batch)
    for row, length in enumerate(batch.lengths):
        one = runtime.predict(batch.row(row)).logits[NAME]
        np.testing.assert_array_equal(outputs.logits[NAME][row, :length], one[0])
    padded = runtime.padded().predict(batch)
    if recipe == STATIC:
        outputs = load(runtime.bundle.folder, engine="onnxruntime").predict(batch)
        real = batch.attention_mask == 1
        np.testing.assert_allclose(padded.logits[NAME][real], outputs.logits[NAME][real], atol=1e-4)


def batch_of(runtime: BertRuntime, pairs: list[tuple[str, str]]) -> Batch:
    """Pairs whose right answer is the second and third token of the context."""
    encodings = runtime.tokenizer.encode_many(pairs)
    width = max(len(encoding.input_ids) for encoding in encodings)
    ids, mask, types, labels = np.zeros((4, len(pairs), width), dtype=np.int64)
    second = np.zeros((len(pairs), 2), dtype=np.int64)
    labels -= 1
    for row, encoding in enumerate(encodings):
        length = len(encoding.input_ids)
        ids[row, :length], mask[row, :length], types[row, :length] = encoding.input_ids, 1, encoding.token_type_ids
        start = encoding.sequence_ids.index(1)
        second[row] = start, start + encoding.sequence_ids.count(1)
        labels[row, slice(*second[row])] = 0
        labels[row, start + 1 : start + 3] = 1
    return Batch(
        input_ids=ids,
        attention_mask=mask,
        token_type_ids=types,
        masked_positions=ids[:, :0],
        labels={NAME: labels},
        second=second,
        hidden=True,
    )


def test_fidelity_and_accuracy_are_measured(runtime_of: Callable[..., BertRuntime]) -> None:
    reference, candidate = runtime_of("bert"), runtime_of("bert", "masked", STATIC)
    pairs = [(QUESTION, sentence) for sentence in SENTENCES if len(reference.tokenizer.token_ids(sentence)) > 2]
    batch = batch_of(reference, pairs)
    same, other = measure_fidelity(reference, [reference, candidate], [batch])
    assert {name for name in same if name.startswith(NAME)} == HEAD.metrics.keys()
    assert same[f"{NAME}.span_agreement"].value == same[f"{NAME}.f1_between"].value == 1
    assert same[f"{NAME}.kl_mean"].value <= 1e-6 < other[f"{NAME}.kl_mean"].value
    assert same[f"{NAME}.f1_drop"].value == 0
    expected = []
    for _, sentence in pairs:
        answer = reference.answer(QUESTION, sentence, whole_words=False)
        encoding = reference.tokenizer.encode(QUESTION, sentence)
        context = [place for place, text in enumerate(encoding.sequence_ids) if text == 1]
        right = encoding.offsets[context[1]][0], encoding.offsets[context[2]][1]
        expected.append((answer.start, answer.end) == right)
    assert same[f"{NAME}.exact_match"].value == pytest.approx(np.mean(expected))


def test_running_text_gives_questions_and_contexts(runtime_of: Callable[..., BertRuntime], corpus_file: Path) -> None:
    """Without a file of the task, a model is calibrated and compared on a short text in front of a longer one."""
    runtime = runtime_of("bert")
    parts = runtime.bundle.manifest.parts
    text = read_text(None, runtime.tokenizer, parts, vocab_size=runtime.config.vocab_size)
    pairs = [pair for pair in text.calibration_texts(40, max_length=256, seed=0) if pair.second]
    assert len(pairs) == 20
    assert all(len(pair.first) <= LONGEST_QUESTION for pair in pairs)
    assert np.mean([len(pair.second) for pair in pairs]) > 3 * np.mean([len(pair.first) for pair in pairs])
    corpus = tokenize_corpus(corpus_file, runtime.tokenizer)
    assert kinds_of_texts(parts, corpus)[0] == QUESTIONS
    layout = Layout.of(runtime.tokenizer, runtime.config.vocab_size, masks=False)
    batches = evaluation_batches(corpus, layout, examples=8, max_length=48, seed=0, kind=QUESTIONS)
    (same,) = measure_fidelity(runtime, [runtime], batches)
    assert same[f"{NAME}.span_agreement"].n == sum(len(batch.input_ids) for batch in batches) > 0


def test_a_file_of_the_task_has_questions_and_contexts(runtime_of: Callable[..., BertRuntime], tmp_path: Path) -> None:
    runtime = runtime_of("bert")
    model = {"parts": runtime.bundle.manifest.parts, "vocab_size": runtime.config.vocab_size}
    rows = [{"question": QUESTION, "context": CONTEXT}, {"question": QUESTION}]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(CorpusError, match="line 2 has a question without a context"):
        read_text(path, runtime.tokenizer, **model)
    path.write_text(json.dumps(rows[0]))
    (pair,) = read_text(path, runtime.tokenizer, **model).texts(1, max_length=64, seed=0)
    assert len(pair.second) > len(pair.first) > 0
    plain = tmp_path / "plain.txt"
    plain.write_text("\n".join(SENTENCES))
    text = read_text(plain, runtime.tokenizer, **model)
    assert any(pair.second for pair in text.calibration_texts(8, max_length=64, seed=0))
    with pytest.raises(CorpusError, match="line 1 has a question without a context"):
        read_task_text(plain, runtime.tokenizer, **model)


def test_models_may_say_that_there_is_no_answer_if_the_texts_have_such_questions() -> None:
    hits = {f"{name}{end}": np.array([x, x]) for name in HITS for end, x in (("", 0.0), ("_or_none", 1.0))}
    for unanswerable, expected in (([False, False], 0.0), ([False, True], 1.0)):
        values = HEAD.finish(f"{NAME}.labelled", hits | {"unanswerable": np.array(unanswerable)})
        assert values.keys() == set(HITS)
        assert all((array == expected).all() for array in values.values())


def test_labels_of_an_example(tokenizer: Tokenizer) -> None:
    encoding = tokenizer.encode(QUESTION, CONTEXT)
    example = Example(text=QUESTION, pair=CONTEXT, values={"answers": {"text": ["port"], "answer_start": [16]}})
    labels = HEAD.target(example, encoding, AnswerSettings())
    assert labels is not None
    assert encoding.offsets[int(np.argmax(labels == 1))][0] == 16
    assert HEAD.target(Example(text=QUESTION, pair=CONTEXT), encoding, AnswerSettings()) is None


@pytest.mark.parametrize(
    ("question", "context", "told"),
    [
        ("", CONTEXT, "the question is empty"),
        (QUESTION, "  ", "the context is empty"),
        ([QUESTION, " "], CONTEXT, "the question at index 1 is empty"),
        ([QUESTION], [CONTEXT, LONG], "1 questions and 2 contexts"),
        ([], CONTEXT, None),
        (QUESTION, None, "expected a context or a list of them, got None"),
        ([QUESTION, 3], CONTEXT, "index 1 is 3"),
        (" ".join(SENTENCES[:8]), CONTEXT, "the question has .* tokens, expected at most 28"),
        (QUESTION, "\u200b", "the context has no tokens"),
    ],
)
def test_bad_input(question: Any, context: Any, told: str | None, runtime_of: Callable[..., BertRuntime]) -> None:
    if told is None:
        assert runtime_of("bert").answer(question, context) == []
        return
    with pytest.raises(UsageError, match=told) as refused:
        runtime_of("bert").answer(question, context)
    assert refused.value.hint


def test_numbers_that_are_too_small(runtime_of: Callable[..., BertRuntime]) -> None:
    for options in ({"top": 0}, {"longest": 0}, {"stride": -1}):
        with pytest.raises(UsageError, match="expected"):
            runtime_of("bert").answer(QUESTION, CONTEXT, **options)


def test_a_question_of_unknown_words_is_told(runtime_of: Callable[..., BertRuntime]) -> None:
    with pytest.warns(UnknownTextWarning):
        runtime_of("bert").answer("\u4e16\u754c", CONTEXT)


def test_a_head_that_does_not_fit_is_refused(folder_of: Callable[[str], Path], tmp_path: Path) -> None:
    folder = shutil.copytree(folder_of("bert"), tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    wrong = {**weights, "qa_outputs.weight": np.zeros((3, 32), np.float32), "qa_outputs.bias": np.zeros(3, np.float32)}
    without = {name: array for name, array in weights.items() if not name.startswith("qa_outputs")}
    for tensors, told in ((wrong, r"qa_outputs.weight is \[3, 32\], expected \[2, 32\]"), (without, "is missing")):
        save_file(tensors, folder / "model.safetensors")
        with pytest.raises(CheckpointError, match=told) as refused:
            Checkpoint.read(folder)
        assert refused.value.hint


def test_the_command(runtime_of: Callable[..., BertRuntime]) -> None:
    folder, words = runtime_of("bert").bundle.folder, ("--question", QUESTION, "--context", CONTEXT)
    answers = runtime_of("bert").answer(QUESTION, CONTEXT, top=2)
    lines = typed("answer", folder, *words, "--top", 2).stdout.splitlines()
    assert lines == [f"{answer.score:8.4f}  {answer.text}" for answer in answers]
    assert json.loads(typed("answer", folder, *words, "--json").stdout) == [asdict(answers[0])]
    assert "(no answer)" in typed("answer", folder, *words, "--no-answer", "--top", 1000).stdout
    missing = typed("answer", folder, "--question", QUESTION)
    assert (missing.returncode, missing.stderr.count("\n")) == (2, 2)
    assert "--context" in missing.stderr
    empty = typed("answer", folder, "--question", " ", "--context", CONTEXT)
    assert (empty.returncode, empty.stderr.count("\n")) == (2, 2)


def test_optimum_opens_the_bundle(runtime_of: Callable[..., BertRuntime]) -> None:
    optimum = pytest.importorskip("optimum.onnxruntime", reason="optimum-onnx is not installed")
    runtime = runtime_of("bert", "all")
    model = optimum.ORTModelForQuestionAnswering.from_pretrained(runtime.bundle.folder)
    encoding = runtime.tokenizer.encode(QUESTION, CONTEXT)
    inputs = {"input_ids": encoding.input_ids, "token_type_ids": encoding.token_type_ids}
    tensors = {name: torch.tensor([ids]) for name, ids in inputs.items()}
    output = model(**tensors, attention_mask=torch.ones_like(tensors["input_ids"]))
    (got,) = runtime.runner.run([row_of(encoding, hidden=True)], lambda result: result[NAME].copy())
    for column, logits in enumerate((output.start_logits, output.end_logits)):
        np.testing.assert_allclose(logits[0].numpy(), got[:, column], atol=1e-5)
