"""A tiny bundle for each command that uses one."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from bertedge.checkpoint import Checkpoint
from bertedge.checkpoint.sources import ArraysSource
from bertedge.encoders import EncoderConfig
from bertedge.heads import HEADS
from bertedge.heads.parts import Parts
from bertedge.quantization import export
from bertedge.tokenizer import Tokenizer
from tests.conftest import random_tensors
from tests.test_tables import SETTINGS


@pytest.fixture(scope="session")
def bundles(
    tmp_path_factory: pytest.TempPathFactory, config: EncoderConfig, tokenizer: Tokenizer
) -> Callable[[str], Path]:
    """Command -> a bundle of a float model that has its head alone; not to be changed by tests."""
    root = tmp_path_factory.mktemp("commands")

    def made(verb: str) -> Path:
        head = next(head for head in HEADS.values() if head.verb.name == verb)
        checkpoint = Checkpoint(
            name=head.name,
            config=config,
            source=ArraysSource(random_tensors(config, Parts((head.name,), pooler=True, settings=SETTINGS))),
            tokenizer_=tokenizer,
            raw_config={"architectures": [f"Bert{head.architecture or 'Model'}"]},
            embedding=SETTINGS.embedding if head.in_every_model else None,
        )
        return export(checkpoint, root / head.name).folder

    return cache(made)
