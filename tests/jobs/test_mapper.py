"""A bundle as a function of batches: what it adds to each kind of batch, and what it refuses."""

from __future__ import annotations

import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bertedge import BundleMapper
from bertedge.bundle import Bundle
from bertedge.errors import BundleError, CheckpointError, FileError, UsageError
from bertedge.heads import HEADS
from bertedge.jobs import mapper as module
from bertedge.runtime import load

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install 'bertedge[data]'")
pd = pytest.importorskip("pandas", reason="pandas is not installed")

TEXTS = ["The cat sat on the [MASK].", "A [MASK] left the port at dawn.", "Bread needs [MASK]."]
OTHERS = ["It was warm.", "The sea was calm.", "Bake it."]
VERBS = {head.verb.name: head for head in HEADS.values()}
#: Kind of batch -> makes one of columns, and reads a column of it.
KINDS: dict[str, tuple[Callable[[dict], Any], Callable[[Any, str], list]]] = {
    "numpy": (
        lambda columns: {name: np.array(values, object) for name, values in columns.items()},
        lambda batch, name: list(batch[name]),
    ),
    "table": (pa.table, lambda batch, name: batch.column(name).to_pylist()),
    "record batch": (pa.RecordBatch.from_pydict, lambda batch, name: batch.column(name).to_pylist()),
    "pandas": (
        lambda columns: pd.DataFrame(columns, index=[7] * len(next(iter(columns.values())))),
        lambda batch, name: batch[name].tolist(),
    ),
}


@pytest.fixture(scope="module")
def bundle(bundle_of: Callable[..., Bundle]) -> str:
    return str(bundle_of("static").folder)


def plain(value: Any) -> Any:
    """A value as Python's own types: Arrow and numpy hold the same numbers in others."""
    if isinstance(value, np.ndarray | list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return value.item() if isinstance(value, np.generic) else value


@pytest.mark.parametrize("verb", VERBS)
def test_batches_of_every_kind_get_the_answers_of_a_plain_call(verb: str, bundles: Callable) -> None:
    rows, folder = VERBS[verb].verb.rows, bundles(verb)
    pair = None if rows.second == "never" else "other"
    items = TEXTS if pair is None else list(zip(TEXTS, OTHERS, strict=True))
    expected = [rows.values(answer) for answer in rows.answers(load(folder, threads=1), items)]
    mapper = BundleMapper(folder, verb, column="body", pair=pair, threads=1, prefix="its_")
    for make, read in KINDS.values():
        batch = make({"id": [5, 6, 7], "body": TEXTS, "other": OTHERS})
        done = mapper(batch)
        assert type(done) is type(batch)
        assert read(done, "id") == [5, 6, 7]
        assert read(done, "body") == TEXTS
        for name in rows.names:
            assert plain(read(done, f"its_{name}")) == plain([row[name] for row in expected])
        with pytest.raises(KeyError):
            read(batch, f"its_{rows.names[0]}")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("verb", ["embed", "answer", "classify"])
def test_rows_with_null_get_null(verb: str, kind: str, bundles: Callable) -> None:
    make, read = KINDS[kind]
    rows, pair = VERBS[verb].verb.rows, None if VERBS[verb].verb.rows.second == "never" else "other"
    mapper = BundleMapper(bundles(verb), verb, column="body", pair=pair, threads=1)
    without = mapper(make({"body": TEXTS[:1], "other": OTHERS[:1]}))
    mixed = mapper(make({"body": [None, TEXTS[0]], "other": [OTHERS[1], OTHERS[0]]}))
    nothing = mapper(make({"body": [None], "other": [None]}))
    empty = mapper(make({"body": [], "other": []}))
    for name in rows.names:
        assert plain(read(mixed, name)[1]) == plain(read(without, name)[0])
        for missing in (read(mixed, name)[0], read(nothing, name)[0]):
            assert missing is None or missing is pd.NA or np.isnan(missing).all()
            assert missing is None or not kind.endswith(("table", "record batch"))
        assert len(read(empty, name)) == 0
        if kind in ("table", "record batch"):
            assert len({str(done.schema.field(name).type) for done in (without, mixed, nothing, empty)}) == 1
        if kind == "pandas":
            assert len({str(done[name].dtype) for done in (without, mixed, nothing, empty)}) == 1


def test_vectors_are_an_array_and_a_list_of_fixed_size(bundle: str) -> None:
    mapper = BundleMapper(bundle, column="text", threads=1)
    vectors = load(bundle, threads=1).encode(TEXTS)
    array = mapper({"text": np.array(TEXTS)})["embedding"]
    assert (array.dtype, array.shape) == (np.float32, (3, 32))
    np.testing.assert_array_equal(array, vectors)
    table = mapper(pa.table({"text": pa.chunked_array([TEXTS[:1], TEXTS[1:]])}))
    assert table.schema.field("embedding").type == pa.list_(pa.float32(), 32)
    np.testing.assert_array_equal(table["embedding"].combine_chunks().flatten().to_numpy().reshape(3, 32), vectors)
    assert mapper({"text": np.array([], object)})["embedding"].shape == (0, 32)
    states = BundleMapper(bundle, column="text", threads=1, pooling="none")
    table = states(pa.table({"text": TEXTS}))
    assert table.schema.field("embedding").type == pa.list_(pa.list_(pa.float32(), 32))
    assert table.schema == states(pa.table({"text": pa.array([None], pa.string())})).schema


@pytest.mark.parametrize(
    "column",
    [
        pa.array(TEXTS, pa.large_string()),
        pa.array(TEXTS).dictionary_encode(),
        np.array(TEXTS),
        TEXTS,
        pd.Series(TEXTS, dtype="category"),
        pd.Series(TEXTS, dtype="string"),
    ],
    ids=lambda column: f"{type(column).__name__} {getattr(column, 'type', getattr(column, 'dtype', ''))}",
)
def test_texts_may_be_stored_in_any_way(column: Any, bundle: str) -> None:
    wrap = {"pyarrow": lambda: pa.table({"text": column}), "pandas": lambda: pd.DataFrame({"text": column})}
    batch = wrap.get(type(column).__module__.split(".")[0], lambda: {"text": column})()
    read = BundleMapper(bundle, column="text", threads=1)(batch)["embedding"]
    assert plain(read.to_pylist() if hasattr(read, "to_pylist") else list(read)) == plain(
        load(bundle, threads=1).encode(TEXTS)
    )


def test_options_reach_the_model_and_a_text_may_be_the_same_for_all_rows(bundle: str, bundles: Callable) -> None:
    vectors = BundleMapper(bundle, column="text", threads=1, normalize=True, dimensions=8)({"text": TEXTS})
    assert vectors["embedding"].shape == (3, 8)
    assert np.linalg.norm(vectors["embedding"], axis=1) == pytest.approx(1, abs=1e-5)
    ranker, query = bundles("rerank"), "the sea"
    scores = BundleMapper(ranker, "rerank", column="text", threads=1, query=query)({"text": TEXTS})["score"]
    assert scores.tolist() == load(ranker, threads=1).relevance([(query, text) for text in TEXTS])
    reader, where = bundles("answer"), "The ship left the port."
    found = BundleMapper(reader, "answer", column="text", threads=1, context=where, longest=3)({"text": OTHERS})
    assert found["answer"].tolist() == [one.text for one in load(reader, threads=1).answer(OTHERS, where, longest=3)]


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({"text": [*TEXTS, 5]}, "column 'text': row 3 of a batch is 5 (int), expected a text"),
        ({"text": ["a", b"b"]}, "column 'text': row 1 of a batch is b'b' (bytes), expected a text"),
        ({"text": ["a", "\ud800"]}, "row 1 of a batch: the text is not Unicode"),
        ({"body": TEXTS}, "a batch has no column 'text'"),
        ({"text": "The cat sat."}, "column 'text' is 'The cat sat.' (str), expected an array"),
        ({"text": TEXTS, "embedding": [0, 0, 0]}, "a batch has a column 'embedding' already"),
        (pa.table({"text": [1, 2]}), "column 'text': row 0 of a batch is 1 (int), expected a text"),
        (pa.table([["a"], ["b"]], names=["text", "text"]), "a batch has more than one column 'text'"),
        (pd.DataFrame({"text": [None, 0.5]}, dtype=object), "row 1 of a batch is 0.5 (float), expected a text"),
        (TEXTS, "a batch is a list, expected a dict of arrays"),
    ],
    ids=str,
)
def test_batches_that_cannot_be_used(batch: Any, message: str, bundle: str) -> None:
    with pytest.raises(UsageError) as caught:
        BundleMapper(bundle, column="text", threads=1)(batch)
    assert message in caught.value.message


def test_a_row_that_the_model_cannot_use_is_told_by_its_place_in_the_batch(bundle: str) -> None:
    with pytest.raises(UsageError, match=r"row 2 of a batch: .*\[MASK\]"):
        BundleMapper(bundle, "fill-mask", column="text", threads=1)({"text": [None, "a [MASK]", "none"]})


@pytest.mark.parametrize(
    ("verb", "options", "message"),
    [
        ("embedd", {}, "'embedd' is not a command that uses a bundle"),
        ("embed", {"pair": "other"}, "embed reads one text of a row"),
        ("embed", {"normalise": True}, "embed has no option 'normalise'"),
        ("embed", {"dimensions": "8"}, "option dimensions is '8' (str), expected int"),
        ("embed", {"threads": 0}, "threads is 0"),
        ("next-sentence", {}, "next-sentence reads two texts of a row"),
    ],
)
def test_settings_that_cannot_be_used(verb: str, options: dict[str, Any], message: str, bundle: str) -> None:
    with pytest.raises(UsageError) as caught:
        BundleMapper(bundle, verb, column="text", **options)
    assert message in caught.value.message


def test_models_that_cannot_be_used(bundle: str, bundles: Callable, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="has no token_classification head"):
        BundleMapper(bundle, "tag", column="text")
    with pytest.raises(FileError, match="no such bundle"):
        BundleMapper(tmp_path / "nowhere", column="text")
    with pytest.raises(UsageError, match="more are given"):
        BundleMapper(bundles("rerank"), "rerank", column="text", pair="other", query="the sea")
    with pytest.raises(BundleError, match="is not the bundle that the job began with"):
        BundleMapper(bundle, column="text", model_sha256="0" * 64)


def test_it_is_pickled_by_path_and_refuses_another_bundle_there(
    bundle_of: Callable[..., Bundle], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(bundle_of("static").folder, tmp_path / "bundle")
    monkeypatch.chdir(tmp_path)
    pickled = pickle.dumps(BundleMapper("bundle", column="text", threads=1))
    assert len(pickled) < 2000
    monkeypatch.chdir("/")
    again = pickle.loads(pickled)
    first = again({"text": TEXTS})["embedding"]
    shutil.rmtree(tmp_path / "bundle")
    np.testing.assert_array_equal(pickle.loads(pickled)({"text": TEXTS})["embedding"], first)  # it is loaded
    shutil.copytree(bundle_of("float32").folder, tmp_path / "bundle")
    monkeypatch.setattr(module, "_loaded", {})
    with pytest.raises(BundleError, match="is not the bundle that the job began with"):
        again({"text": TEXTS})


def test_a_process_loads_a_bundle_once(bundle: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    monkeypatch.setattr(module, "_loaded", {})
    monkeypatch.setattr(module, "load", lambda *given, **how: opened.append(how) or load(*given, **how))
    mappers = [BundleMapper(bundle, column="text", threads=1) for _ in range(2)]
    assert opened == []
    for mapper in [*mappers, pickle.loads(pickle.dumps(mappers[0]))]:
        list(mapper.map_iterator([{"text": TEXTS}, {"text": TEXTS}]))
    BundleMapper(bundle, "fill-mask", column="text", threads=1)({"text": TEXTS})
    assert opened == [{"engine": "auto", "threads": 1}]


def test_threads_of_one_process_share_a_model(bundle: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    monkeypatch.setattr(module, "_loaded", {})
    monkeypatch.setattr(module, "load", lambda *given, **how: opened.append(how) or load(*given, **how))
    mapper = BundleMapper(bundle, column="text", threads=1)
    batches = [{"text": [f"{text} It is row {row}." for text in TEXTS]} for row in range(40)]
    with ThreadPoolExecutor(4) as pool:
        found = [done["embedding"] for done in pool.map(mapper, batches)]
    assert len(opened) == 1
    np.testing.assert_array_equal(found, [mapper(batch)["embedding"] for batch in batches])


def test_it_is_light() -> None:
    code = (
        "import sys\nfrom bertedge import BundleMapper\n"
        "print(sorted({'pyarrow', 'pandas', 'ray', 'onnx', 'torch', 'typer'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
