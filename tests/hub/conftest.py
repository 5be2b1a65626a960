"""A hub on this machine, which the client of this process talks to, and an empty cache of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub.fake_hub import TOKEN, Hub, serve_hub


def forget_connections() -> None:
    """Up to version 0.36 of the client a connection remembers whether it is allowed."""
    from huggingface_hub import utils

    getattr(utils, "reset_sessions", lambda: None)()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub without repositories. The variables are for child processes; the client of this process has read them."""
    constants = pytest.importorskip(
        "huggingface_hub.constants", reason="huggingface_hub is not installed: pip install 'bertedge[hub]'"
    )
    cache = tmp_path / "hub-cache"
    with serve_hub() as running:
        settings = {
            "HF_ENDPOINT": running.url,
            "HF_HUB_CACHE": str(cache),
            "HF_HOME": str(tmp_path / "hub-home"),
            "HF_TOKEN": TOKEN,
            "HF_HUB_DISABLE_XET": "1",  # the other way to upload; the hub here has the one by LFS
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        values = {
            "ENDPOINT": running.url,
            "HUGGINGFACE_CO_URL_TEMPLATE": running.url + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_HUB_CACHE": str(cache),
            "AGENT_HARNESSES_PATH": str(tmp_path / "harnesses.json"),
            "HF_HUB_DISABLE_XET": True,
            "HF_HUB_OFFLINE": False,
        }
        for name, value in values.items():
            monkeypatch.setattr(constants, name, value, raising=False)  # not every version has all of them
        address = values["HUGGINGFACE_CO_URL_TEMPLATE"]  # up to 0.36 this module has its own copy
        monkeypatch.setattr("huggingface_hub.file_download.HUGGINGFACE_CO_URL_TEMPLATE", address, raising=False)
        monkeypatch.setattr("time.sleep", lambda seconds: None)  # the client waits between attempts
        forget_connections()
        bars = pytest.importorskip("huggingface_hub.utils")
        shown = not bars.are_progress_bars_disabled()
        bars.disable_progress_bars()
        yield running
        if shown:
            bars.enable_progress_bars()
