"""Which layers a recipe leaves alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from bertedge.checkpoint import Checkpoint
from bertedge.errors import UsageError
from bertedge.quantization import quantize
from bertedge.recipe import METHODS, QuantizationRecipe, Static


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("pattern", ["embeddings.word", "embeddings.*"])
def test_half_of_a_shared_table_is_refused(
    method: str, pattern: str, checkpoint: Checkpoint, corpus_file: Path, tmp_path: Path
) -> None:
    recipe = QuantizationRecipe(method=METHODS[method](), exclude=(pattern,))
    with pytest.raises(UsageError, match=r"mlm\.decoder shares its table"):
        quantize(checkpoint, tmp_path / "b", recipe=recipe, calibration=corpus_file)


def test_a_whole_shared_table_may_stay_float(checkpoint: Checkpoint, corpus_file: Path, tmp_path: Path) -> None:
    recipe = QuantizationRecipe(method=Static(examples=2), exclude=("embeddings.word", "mlm.decoder"))
    bundle = quantize(checkpoint, tmp_path / "b", recipe=recipe, calibration=corpus_file)
    config = checkpoint.config
    assert bundle.manifest.bytes_by_part["embeddings"] > 4 * config.vocab_size * config.hidden_size
