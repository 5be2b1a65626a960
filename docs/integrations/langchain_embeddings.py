"""A bundle of bertedge as LangChain's ``Embeddings``. Needs: pip install langchain-core"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from langchain_core.embeddings import Embeddings

import bertedge


class BertedgeEmbeddings(Embeddings):
    """Vectors of documents and of queries, each with the model's own prompt if it has one.

    Args:
        bundle: a folder.
        options: for every call of :meth:`bertedge.BertRuntime.encode`, such as ``normalize=True``.
    """

    def __init__(self, bundle: str | Path, *, threads: int | None = None, **options: Any) -> None:
        self.model, self.options = bertedge.load(bundle, threads=threads), options

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self._encode(texts, "document", "passage")

    def embed_query(self, text: str) -> list[float]:
        return self._encode([text], "query")[0]

    def _encode(self, texts: list[str], *prompts: str) -> list[list[float]]:
        own = self.model.embedding.prompts if self.model.embedding else {}
        prompt = next((name for name in prompts if name in own), None)
        return self.model.encode(texts, **{"prompt_name": prompt, **self.options}).tolist()
