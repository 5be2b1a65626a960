"""A bundle's file as plain onnxruntime runs it: padded batches with an attention mask."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import onnxruntime as ort

from bertedge.bundle import Bundle
from bertedge.engines.onnxruntime.feed import feed
from bertedge.engines.onnxruntime.session import FATAL_ONLY, inputs_of, load_session
from bertedge.engines.per_process import PerProcess
from bertedge.engines.threads import checked_threads
from bertedge.heads import take_masked, without_every
from bertedge.predictor import Batch, Outputs, by_key


class PaddedPredictor:
    """Runs padded batches on ``model.onnx`` as other programs do; see :class:`bertedge.predictor.Predictor`.

    :class:`~bertedge.runtime.bert_runtime.BertRuntime` removes padding and keeps texts independent. This predictor does
    neither, and its session has onnxruntime's defaults. So it measures the file without bertedge's runtime.

    Args:
        threads: threads that one operator may use.
    """

    def __init__(self, bundle: Bundle, *, threads: int) -> None:
        self.name = bundle.name
        self._threads = threads
        self._sessions = PerProcess(partial(_open, bundle.model_path), before=bundle.check_files)
        self._sessions[threads]  # reports a file that cannot be loaded now
        self._all_positions = bundle.manifest.positions == "all"
        self._outputs = bundle.manifest.parts.outputs_by_key(bundle.manifest.positions)

    def predict(self, batch: Batch) -> Outputs:
        """All outputs. Ignore logits at positions that only fill up a row, and hidden states at padding."""
        session = self._sessions[self._threads]
        names = [output.name for output in session.get_outputs()]
        given = dict(zip(names, session.run(None, feed(batch, inputs_of(session))), strict=True))
        values = by_key(given, self._outputs)
        if self._all_positions:
            values = take_masked(values, batch.masked_positions)
        return Outputs.of(values if batch.hidden else without_every(values))


def _open(path: Path, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = checked_threads(threads)
    options.log_severity_level = FATAL_ONLY
    return load_session(path, options)
