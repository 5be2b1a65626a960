"""CTranslate2: an int8 encoder. It has neither of BERT's heads; for ``words`` they are computed in numpy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import ctranslate2
import numpy as np
from numpy.typing import NDArray

from bertedge.predictor import Batch, Outputs
from peers.protocol import Run, Vectors, Work, at_masked_positions, mean_over_tokens

HEADS = "heads.npz"


@dataclass(frozen=True, kw_only=True)
class CTranslate2:
    """A converted encoder, with the heads' weights in a separate file."""

    def prepare(self, checkpoint: Path, calibration: Path, folder: Path, work: Work) -> list[Path]:
        converter = ctranslate2.converters.TransformersConverter(str(checkpoint))
        converter.convert(str(folder / "encoder"), quantization="int8")
        files = sorted((folder / "encoder").iterdir())
        return files if work == "vectors" else [*files, _write_heads(checkpoint, folder / HEADS)]

    def load(self, files: list[Path], work: Work, threads: int, callers: int) -> Run:
        encoder = ctranslate2.Encoder(
            str(files[0].parent), device="cpu", compute_type="int8", inter_threads=callers, intra_threads=threads
        )
        heads = _Heads(files[-1]) if work == "words" else None

        def run(batch: Batch) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
            lengths = batch.lengths
            ids, segments = (
                [row[:length].tolist() for row, length in zip(array, lengths, strict=True)]
                for array in (batch.input_ids, batch.token_type_ids)
            )
            found = encoder.forward_batch(ids, token_type_ids=segments)
            return np.asarray(found.last_hidden_state), np.asarray(found.pooler_output)

        def words(batch: Batch) -> Outputs:
            states, pooled = run(batch)
            return heads(at_masked_positions(states, batch), pooled)

        def vectors(batch: Batch) -> Vectors:
            return mean_over_tokens(run(batch)[0], batch)

        return words if work == "words" else vectors


def _write_heads(checkpoint: Path, path: Path) -> Path:
    """Weights of both heads; the word table a second time, in float32."""
    from transformers import BertForPreTraining

    model = BertForPreTraining.from_pretrained(checkpoint)
    if model.config.hidden_act != "gelu":
        raise ValueError(f"the heads are written for gelu, the checkpoint has {model.config.hidden_act}")
    heads = {name: tensor.float().numpy() for name, tensor in model.cls.state_dict().items()}
    np.savez(path, epsilon=model.config.layer_norm_eps, **heads)
    return path


class _Heads:
    """States at the masked positions (B, K, H) and pooled states (B, H) -> logits."""

    def __init__(self, path: Path) -> None:
        with np.load(path) as stored:
            arrays = {name: stored[name] for name in stored.files}
        self._epsilon = float(arrays["epsilon"])
        self._dense, self._norm, self._decoder, self._nsp = (
            (arrays[f"{name}.weight"].T, arrays[f"{name}.bias"])
            for name in (
                "predictions.transform.dense",
                "predictions.transform.LayerNorm",
                "predictions.decoder",
                "seq_relationship",
            )
        )

    def __call__(self, states: NDArray[np.float32], pooled: NDArray[np.float32]) -> Outputs:
        from scipy.special import erf

        x = states @ self._dense[0] + self._dense[1]
        x = 0.5 * x * (1 + erf(x / np.float32(np.sqrt(2))))
        x -= x.mean(axis=-1, keepdims=True)
        x /= np.sqrt((x * x).mean(axis=-1, keepdims=True) + self._epsilon)
        x = x * self._norm[0] + self._norm[1]
        return Outputs(
            logits={"mlm": x @ self._decoder[0] + self._decoder[1], "nsp": pooled @ self._nsp[0] + self._nsp[1]}
        )
