"""A bundle of bertedge as LlamaIndex's ``BaseEmbedding``. Needs: pip install llama-index-core"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from pydantic import Field, PrivateAttr

import bertedge


class BertedgeEmbedding(BaseEmbedding):
    """Vectors of documents and of queries, each with the model's own prompt if it has one.

    Args:
        bundle: a folder.
        options: for every call of :meth:`bertedge.BertRuntime.encode`, such as ``{"normalize": True}``.
    """

    embed_batch_size: int = Field(default=256, gt=0, le=2048)
    _model: bertedge.BertRuntime = PrivateAttr()
    _options: dict[str, Any] = PrivateAttr()

    def __init__(
        self, bundle: str | Path, *, threads: int | None = None, options: dict[str, Any] | None = None, **fields: Any
    ) -> None:
        super().__init__(model_name=Path(bundle).name, **fields)
        self._model, self._options = bertedge.load(bundle, threads=threads), options or {}

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._encode(texts, "document", "passage")

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._encode([query], "query")[0]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return await asyncio.to_thread(self._get_query_embedding, query)

    def _encode(self, texts: list[str], *prompts: str) -> list[list[float]]:
        own = self._model.embedding.prompts if self._model.embedding else {}
        prompt = next((name for name in prompts if name in own), None)
        return self._model.encode(texts, **{"prompt_name": prompt, **self._options}).tolist()
