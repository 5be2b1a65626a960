"""What every refusal of a corpus has to be."""

from __future__ import annotations

from pathlib import Path

import pytest

from bertedge.data.corpus import read_sentences
from bertedge.errors import CorpusError


def refused(path: Path) -> CorpusError:
    """The error of a file that cannot be read: two lines that name it."""
    with pytest.raises(CorpusError) as caught:
        list(read_sentences(path))
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message + caught.value.hint
    return caught.value
