"""The adapters in docs/integrations, and the programs for other frameworks in docs/many-machines.md.

``make integrations`` installs the packages that they are for.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from bertedge.bundle import Bundle
from bertedge.checkpoint import Checkpoint
from bertedge.checkpoint.sources import ArraysSource
from bertedge.encoders import EncoderConfig
from bertedge.heads.parts import HeadSettings, Parts
from bertedge.pooling import EmbeddingSettings
from bertedge.quantization import export
from bertedge.runtime import BertRuntime, load
from bertedge.tokenizer import Tokenizer
from tests.conftest import random_tensors

FOLDER = Path(__file__).parents[1] / "docs" / "integrations"
ADAPTERS = sorted(FOLDER.glob("*.py"))
TEXTS = ["A ship left the port at dawn.", "Bread needs flour, water, salt and time."]
PAGE = (FOLDER.parent / "many-machines.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
QUERY = "What left the port?"
MOST_LINES = 50


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, config: EncoderConfig, tokenizer: Tokenizer) -> Bundle:
    """An embedder with a prompt for queries and one for documents."""
    prompts = {"query": "the court heard: ", "document": "by noon: "}
    vectors = EmbeddingSettings(pooling=("mean",), max_seq_length=64, prompts=prompts)
    parts = Parts((), pooler=True, settings=HeadSettings(embedding=vectors))
    checkpoint = Checkpoint(
        name="embedder",
        config=config,
        source=ArraysSource(random_tensors(config, parts)),
        tokenizer_=tokenizer,
        raw_config={"architectures": ["BertModel"]},
        embedding=vectors,
    )
    return export(checkpoint, tmp_path_factory.mktemp("bundles") / "embedder")


@pytest.fixture(scope="module")
def model(bundle: Bundle) -> BertRuntime:
    return load(bundle.folder, threads=1)


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(FOLDER))
    yield
    for path in ADAPTERS:
        sys.modules.pop(path.stem, None)


@pytest.mark.parametrize("path", ADAPTERS, ids=lambda path: path.stem)
def test_adapters_are_short_and_on_the_page(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES
    page = (FOLDER / "index.md").read_text(encoding="utf-8")
    assert f"<!-- file {path.name} -->" in page
    assert f"]({path.name})" in page


def test_langchain(bundle: Bundle, model: BertRuntime) -> None:
    stores = pytest.importorskip("langchain_core.vectorstores", reason="langchain-core is not installed")
    embeddings = import_module("langchain_embeddings").BertedgeEmbeddings(bundle.folder, threads=1, normalize=True)
    documents = model.encode(TEXTS, prompt_name="document", normalize=True)
    query = model.encode(QUERY, prompt_name="query", normalize=True)
    assert embeddings.embed_documents(TEXTS) == documents.tolist()
    assert embeddings.embed_query(QUERY) == query.tolist()
    assert asyncio.run(embeddings.aembed_query(QUERY)) == query.tolist()
    assert embeddings.embed_documents([]) == []
    store = stores.InMemoryVectorStore(embeddings)
    store.add_texts(TEXTS)
    (found,) = store.similarity_search(QUERY, k=1)
    assert found.page_content == TEXTS[int((documents @ query).argmax())]


def test_llama_index(bundle: Bundle, model: BertRuntime) -> None:
    core = pytest.importorskip("llama_index.core", reason="llama-index-core is not installed")
    adapter = import_module("llama_index_embedding").BertedgeEmbedding
    embedding = adapter(bundle.folder, threads=1, options={"normalize": True})
    documents = model.encode(TEXTS, prompt_name="document", normalize=True)
    query = model.encode(QUERY, prompt_name="query", normalize=True)
    assert embedding.get_text_embedding_batch(TEXTS) == documents.tolist()
    assert embedding.get_text_embedding(TEXTS[0]) == documents[0].tolist()
    assert embedding.get_query_embedding(QUERY) == query.tolist()
    assert asyncio.run(embedding.aget_query_embedding(QUERY)) == query.tolist()
    assert embedding.model_name == bundle.name
    nodes = [core.schema.TextNode(text=text) for text in TEXTS]
    retriever = core.VectorStoreIndex(nodes, embed_model=embedding).as_retriever(similarity_top_k=1)
    assert retriever.retrieve(QUERY)[0].text == TEXTS[int((documents @ query).argmax())]


def test_chroma(bundle: Bundle, model: BertRuntime, tmp_path: Path) -> None:
    chromadb = pytest.importorskip("chromadb", reason="chromadb is not installed")
    settings = chromadb.config.Settings(anonymized_telemetry=False)
    function = import_module("chroma_function").BertedgeFunction(str(bundle.folder), threads=1, normalize=True)
    documents = model.encode(TEXTS, prompt_name="document", normalize=True)
    query = model.encode(QUERY, prompt_name="query", normalize=True)
    np.testing.assert_array_equal(function(TEXTS), documents)
    client = chromadb.PersistentClient(str(tmp_path), settings)
    client.create_collection("texts", embedding_function=function).add(ids=["0", "1"], documents=TEXTS)
    # another program opens the collection, and Chroma makes the function again from what it has stored
    again = chromadb.PersistentClient(str(tmp_path), settings).get_collection("texts")
    found = again.query(query_texts=[QUERY], n_results=2, include=["documents", "distances"])
    order = np.argsort(((documents - query) ** 2).sum(axis=1))
    assert found["documents"] == [[TEXTS[place] for place in order]]
    assert found["distances"][0] == pytest.approx(((documents - query) ** 2).sum(axis=1)[order], abs=1e-5)


@pytest.mark.parametrize(
    ("package", "output"),
    [("dask.dataframe", "dask-vectors"), ("pyspark.sql", "spark-vectors"), ("datasets", "hf-vectors.parquet")],
)
def test_programs_write_the_vectors_of_a_plain_call(
    package: str, output: str, bundle: Bundle, model: BertRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(package, reason=f"{package} is not installed")
    from pyarrow import parquet, table

    (program,) = [code for code in PROGRAMS if re.search(rf"^(import|from) {package}\b", code, re.MULTILINE)]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "e.int8").symlink_to(bundle.folder)
    texts = [f"{text} It is row {row}." for row in range(4) for text in TEXTS]
    parquet.write_table(table({"id": range(len(texts)), "text": texts}), "texts.parquet")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    # Spark's workers look for neither this Python nor the folder where pytest found bertedge
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    monkeypatch.setenv("PYTHONPATH", str(FOLDER.parents[1]))
    exec(program, {"__name__": "__main__"})
    found = parquet.read_table(output).sort_by("id")
    assert found["text"].to_pylist() == texts
    vectors = np.array(found["embedding"].to_pylist(), np.float32)
    np.testing.assert_array_equal(vectors, model.encode(texts))
