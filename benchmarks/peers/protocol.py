"""The interface of a peer: it makes a model file from a checkpoint, and runs it.

There are four kinds of work. A peer makes an artefact for each, so that it computes only what is needed:

- ``words``: a batch of encoded texts -> MLM logits at the masked positions, NSP logits where the peer has that head;
- ``vectors``: a batch of encoded texts -> the mean of the last layer's states over each text's tokens;
- ``labels``: a batch of encoded texts -> logits of the labels of a classifier;
- ``embedding``: a batch of encoded texts, or plain texts -> vectors, as sentence-transformers makes them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from bertedge.predictor import Batch, Outputs

Work = Literal["words", "vectors", "labels", "embedding"]
Vectors = NDArray[np.float32]
#: ``Outputs`` of a batch; logits of labels (B, C); vectors (B, D), for ``embedding`` also of a list of plain texts.
Run = Callable[[Any], Outputs | Vectors]


class Peer(Protocol):
    """One way to run a BERT. Its methods run in a separate process."""

    def prepare(self, checkpoint: Path, calibration: Path, folder: Path, work: Work) -> list[Path]:
        """Make the artefact.

        Args:
            checkpoint: folder in the Hugging Face layout.
            calibration: text, one sentence a line.
            folder: empty; for what is made.

        Returns:
            The files that running it takes; their bytes are its size.
        """
        ...

    def load(self, files: list[Path], work: Work, threads: int, callers: int) -> Run:
        """Make it ready to run.

        Args:
            files: what ``prepare`` returned.
            threads: threads that one call may use.
            callers: threads that will call at the same time.
        """
        ...


def ids_of(batch: Batch) -> dict[str, NDArray[np.int64]]:
    """The inputs of every BERT."""
    return {name: getattr(batch, name) for name in ("input_ids", "attention_mask", "token_type_ids")}


def mean_over_tokens(states: NDArray[Any], batch: Batch) -> Vectors:
    """(B, S, H) -> (B, H), without padding."""
    mask = batch.attention_mask[..., None].astype(np.float32)
    return (states * mask).sum(axis=1) / mask.sum(axis=1)


def at_masked_positions(states: NDArray[Any], batch: Batch) -> NDArray[Any]:
    """(B, S, N) -> (B, K, N)."""
    return np.take_along_axis(states, batch.masked_positions[:, :, None], axis=1)


def peak_rss_bytes() -> int:
    """The peak memory of this process. getrusage is not used: on Linux it starts at the parent's peak."""
    try:
        status = Path("/proc/self/status").read_text()
        return 1024 * int(re.search(r"VmHWM:\s+(\d+)", status).group(1))
    except (OSError, AttributeError):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
