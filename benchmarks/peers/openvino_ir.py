"""OpenVINO: converted from PyTorch, in float or quantized by NNCF after calibration."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openvino as ov

from bertedge.predictor import Batch, Outputs
from peers.protocol import Run, Vectors, Work, ids_of, mean_over_tokens

#: As many texts and tokens as bertedge's default recipe reads.
EXAMPLES, MAX_LENGTH, SEED = 64, 128, 0


@dataclass(frozen=True, kw_only=True)
class OpenVino:
    """A model in OpenVINO's own format.

    Attributes:
        quantized: by ``nncf.quantize``, weights and activations.
    """

    quantized: bool = False

    def prepare(self, checkpoint: Path, calibration: Path, folder: Path, work: Work) -> list[Path]:
        from peers.hugging_face import torch_model

        examples = [_feed(batch, work) for batch in calibration_batches(checkpoint, calibration)]
        names = list(examples[0])
        import torch

        # every dimension is dynamic: OpenVINO writes -1 as "?"
        model = ov.convert_model(
            torch_model(checkpoint, work),
            example_input={name: torch.from_numpy(examples[0][name]) for name in names},
            input=[(name, [-1, -1], ov.Type.i64) for name in names],
        )
        if self.quantized:
            import nncf

            model = nncf.quantize(
                model, nncf.Dataset(examples), model_type=nncf.ModelType.TRANSFORMER, subset_size=len(examples)
            )
        path = folder / "model.xml"
        ov.save_model(model, path, compress_to_fp16=False)
        return [path, path.with_suffix(".bin")]

    def load(self, files: list[Path], work: Work, threads: int, callers: int) -> Run:
        streams = {"NUM_STREAMS": callers, "INFERENCE_NUM_THREADS": threads * callers}
        hint = "LATENCY" if callers == 1 else "THROUGHPUT"
        model = ov.Core().compile_model(files[0], "CPU", {"PERFORMANCE_HINT": hint, **streams})
        own = threading.local()

        def infer(batch: Batch) -> ov.utils.data_helpers.wrappers.OVDict:
            if not hasattr(own, "request"):
                own.request = model.create_infer_request()
            return own.request.infer(_feed(batch, work), share_inputs=True)

        def words(batch: Batch) -> Outputs:
            found = infer(batch)
            return Outputs(logits={"mlm": found[0], "nsp": found[1]})

        def vectors(batch: Batch) -> Vectors:
            return mean_over_tokens(infer(batch)[0], batch)

        return words if work == "words" else vectors


def _feed(batch: Batch, work: Work) -> dict[str, np.ndarray]:
    positions = {"masked_positions": batch.masked_positions} if work == "words" else {}
    return ids_of(batch) | positions


def calibration_batches(checkpoint: Path, calibration: Path) -> Iterator[Batch]:
    """The texts that bertedge's static method observes, one a batch, masked in the same places."""
    from bertedge.checkpoint import Checkpoint
    from bertedge.data.batches import Layout, masked_batch
    from bertedge.data.calibration import mixed_pairs
    from bertedge.data.corpus import tokenize_corpus

    opened = Checkpoint.read(checkpoint)
    corpus = tokenize_corpus(calibration, opened.tokenizer)
    layout, rng = Layout.of(opened.tokenizer, opened.config.vocab_size), np.random.default_rng(SEED)
    for pair in mixed_pairs(corpus, EXAMPLES, max_length=MAX_LENGTH, seed=SEED):
        yield masked_batch([pair], layout, rng)
