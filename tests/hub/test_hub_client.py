"""What a user named, and what went wrong, in words."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from bertedge.files import FILE_HINT
from bertedge.hub_client import CHECK_NETWORK, HubName, explain, hub_name, name_in_cache

pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed: pip install 'bertedge[hub]'")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("someone/small", HubName("someone/small")),
        ("someone/small@refs/pr/1", HubName("someone/small", "refs/pr/1")),
        ("hf://someone/small.int8", HubName("someone/small.int8")),
        ("small", None),
        ("some one/small", None),
        ("someone/small@", None),
        ("a/b/c", None),
        (f"a/{'b' * 95}", None),
    ],
)
def test_names(text: str, expected: HubName | None) -> None:
    assert hub_name(text) == expected


def test_the_oldest_models_have_no_owner() -> None:
    assert hub_name("bert-base-uncased", with_owner=False) == HubName("bert-base-uncased")


def test_folders_in_the_cache() -> None:
    assert name_in_cache(Path("/cache/models--someone--small.int8/snapshots/0123")) == "small.int8"
    assert name_in_cache(Path("/cache/models--bert/snapshots/0123")) == "bert"
    assert name_in_cache(Path("/bundles/small.int8")) is None
    assert name_in_cache(Path("/")) is None


def raised(outer: Exception, cause: Exception) -> Exception:
    outer.__cause__ = cause
    return outer


@pytest.mark.parametrize(
    ("error", "reason", "hint"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "No space left on device", FILE_HINT),
        (OSError(errno.EROFS, os.strerror(errno.EROFS), "/x"), "/x: Read-only file system", FILE_HINT),
        (raised(RuntimeError("while uploading"), TimeoutError("timed out\nhere")), "timed out", CHECK_NETWORK),
        (ValueError(), "ValueError", CHECK_NETWORK),
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), f"[Errno {errno.ECONNREFUSED}] refused", CHECK_NETWORK),
    ],
)
def test_errors_in_words(error: Exception, reason: str, hint: str) -> None:
    assert explain(error) == (reason, hint)
