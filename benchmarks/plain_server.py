"""The server that ``serve_load.py`` compares with: FastAPI and sentence-transformers, as their documentation shows.

    python benchmarks/plain_server.py FOLDER PORT

FOLDER is a model that sentence-transformers has saved with its ONNX int8 file. The function of the route is an ordinary
one, so FastAPI runs up to 40 at once in threads.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from peers.sbert import INT8, SentenceTransformers
from pydantic import BaseModel


class Texts(BaseModel):
    """The body of a request."""

    inputs: str | list[str]


def main() -> None:
    """Serve until a signal comes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("port", type=int)
    options = parser.parse_args()
    encode = SentenceTransformers(quantized=True).load([options.folder / INT8], "embedding", 1, 1)
    app = FastAPI()

    @app.post("/embed")
    def embed(body: Texts) -> list[list[float]]:
        texts = [body.inputs] if isinstance(body.inputs, str) else body.inputs
        return encode(texts).tolist()

    @app.get("/health")
    def health() -> str:
        return "ready"

    uvicorn.run(app, port=options.port, log_level="error", access_log=False)


if __name__ == "__main__":
    main()
