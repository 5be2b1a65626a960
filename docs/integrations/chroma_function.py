"""A bundle of bertedge as Chroma's embedding function. Needs: pip install chromadb"""

from __future__ import annotations

from typing import Any

from chromadb import Documents, EmbeddingFunction, Embeddings
from chromadb.utils.embedding_functions import register_embedding_function

import bertedge


@register_embedding_function
class BertedgeFunction(EmbeddingFunction[Documents]):
    """Vectors of documents and of queries, each with the model's own prompt if it has one.

    Args:
        bundle: a folder. Chroma stores its name with a collection, and opens it again.
        options: for every call of :meth:`bertedge.BertRuntime.encode`, such as ``normalize=True``.
    """

    def __init__(self, bundle: str, *, threads: int | None = None, **options: Any) -> None:
        self.config = {"bundle": str(bundle), "threads": threads, **options}
        self.model, self.options = bertedge.load(bundle, threads=threads), options

    def __call__(self, input: Documents) -> Embeddings:
        return self._encode(input, "document", "passage")

    def embed_query(self, input: Documents) -> Embeddings:
        return self._encode(input, "query")

    @staticmethod
    def name() -> str:
        return "bertedge"

    def get_config(self) -> dict[str, Any]:
        return self.config

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> BertedgeFunction:
        return BertedgeFunction(**config)

    def _encode(self, texts: Documents, *prompts: str) -> Embeddings:
        own = self.model.embedding.prompts if self.model.embedding else {}
        prompt = next((name for name in prompts if name in own), None)
        return [*self.model.encode(texts, **{"prompt_name": prompt, **self.options})]
