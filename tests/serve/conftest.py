"""One server for all tests of its routes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bertedge.encoders import EncoderConfig
from bertedge.runtime import BertRuntime, load
from bertedge.tokenizer import Tokenizer
from tests.serve.tiny_bundles import make_bundles


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory, config: EncoderConfig, tokenizer: Tokenizer) -> dict[str, Path]:
    """Name -> bundle."""
    return make_bundles(tmp_path_factory.mktemp("served"), config, tokenizer)


@pytest.fixture(scope="session")
def models(folders: dict[str, Path]) -> dict[str, BertRuntime]:
    """Name -> the same bundle in Python."""
    return {name: load(folder, threads=1) for name, folder in folders.items()}


@pytest.fixture(scope="session")
def app(folders: dict[str, Path]) -> Any:
    """The application; its bundles are loaded once it is started."""
    pytest.importorskip("fastapi", reason="fastapi is not installed: pip install 'bertedge[serve]'")
    from bertedge.serve.asgi_app import create_app
    from bertedge.serve.serve_settings import ServeSettings

    return create_app(ServeSettings(bundles=tuple(folders.values()), threads=1, log_requests=False))


@pytest.fixture(scope="session")
def url(app: Any) -> Iterator[str]:
    """The address of a running server."""
    from tests.serve.running import running

    with running(app) as address:
        yield address
