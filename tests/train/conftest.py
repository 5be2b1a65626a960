"""What the tests of training share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import DOCUMENTS


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus with enough documents to hold some out."""
    rng = np.random.default_rng(0)
    words = sorted({word for document in DOCUMENTS for sentence in document for word in sentence.split()})
    documents = ["\n".join(" ".join(rng.choice(words, size=rng.integers(4, 9))) for _ in range(6)) for _ in range(24)]
    path = tmp_path_factory.mktemp("library") / "library.txt"
    path.write_text("\n\n".join(documents), encoding="utf-8")
    return path


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Models as tiny as these gain nothing from threads, and lose much where the machine is busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
