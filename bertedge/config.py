"""The shape of a BERT, with the field names of ``config.json``."""

from __future__ import annotations

import json
import reprlib
import sys
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from bertedge.errors import CheckpointError, nearest
from bertedge.files import FRESH_COPY, read_text, refuse_placeholder

#: ``hidden_act`` as written in the wild -> the function meant by it.
ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}
#: A pair of texts has two segments, and takes ``[CLS] a [SEP] b [SEP]`` at least.
LEAST = {"type_vocab_size": 2, "max_position_embeddings": 5}
#: Fields that are a share, from 0 to 1.
SHARES = ("hidden_dropout_prob", "attention_probs_dropout_prob", "initializer_range")
#: How the classes of other families are called, where ``config.json`` has no ``model_type``.
OTHER_FAMILIES = (
    *("Roberta", "XLMRoberta", "Camembert", "DistilBert", "Albert", "Electra", "Deberta", "MPNet", "ModernBert"),
    *("NomicBert", "Longformer", "BigBird", "Funnel", "XLNet", "T5", "MT5", "Bart", "GPT", "Llama"),
)
MAX_SHOWN = 12
#: The smallest ordinary float32: below it, nothing would be added to the variance.
LEAST_EPS = 1.18e-38
#: No BERT comes near; a slip of the keyboard does, and would be looked for tensor by tensor.
MAX_LAYERS = 1024
#: Extents of tensors have 32 bits in some file formats and operators.
MAX_SIZE = 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class BertConfig:
    """Sizes of a BERT (Devlin et al. 2019, section 3). The defaults are those of BERT-base."""

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12
    pad_token_id: int = 0
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    initializer_range: float = 0.02

    def __post_init__(self) -> None:
        for name in (
            "vocab_size",
            "hidden_size",
            "num_hidden_layers",
            "num_attention_heads",
            "intermediate_size",
            "max_position_embeddings",
            "type_vocab_size",
        ):
            value = getattr(self, name)
            least = LEAST.get(name, 1)
            if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= MAX_SIZE:
                raise CheckpointError(
                    f"config: {name} is {reprlib.repr(value)}, expected a whole number of at least {least}, "
                    f"at most {MAX_SIZE}",
                    "correct config.json",
                )
        if self.num_hidden_layers > MAX_LAYERS:
            raise CheckpointError(
                f"config: num_hidden_layers is {self.num_hidden_layers}, expected at most {MAX_LAYERS}",
                "correct config.json",
            )
        if self.hidden_size % self.num_attention_heads:
            raise CheckpointError(
                f"config: hidden_size {self.hidden_size} is not a multiple of "
                f"num_attention_heads {self.num_attention_heads}",
                "choose a number of heads that divides the hidden size",
            )
        if not isinstance(self.hidden_act, str) or self.hidden_act not in ACTIVATIONS:
            raise CheckpointError(
                f"config: hidden_act {self.hidden_act!r} is not supported", nearest(str(self.hidden_act), ACTIVATIONS)
            )
        if not (_is_number(self.layer_norm_eps) and LEAST_EPS <= self.layer_norm_eps <= 1):
            raise CheckpointError(
                f"config: layer_norm_eps is {reprlib.repr(self.layer_norm_eps)}, expected a number above 0, at most 1",
                "correct config.json; BERT's own is 1e-12",
            )
        for name in SHARES:
            value = getattr(self, name)
            if not (_is_number(value) and 0 <= value <= 1):
                raise CheckpointError(
                    f"config: {name} is {value!r}, expected a number from 0 to 1", "correct config.json"
                )
        for name in ("layer_norm_eps", *SHARES):  # JSON writes 1.0 as 1, and ONNX knows whole numbers apart
            object.__setattr__(self, name, float(getattr(self, name)))
        if type(self.pad_token_id) is not int or not 0 <= self.pad_token_id < self.vocab_size:
            raise CheckpointError(
                f"config: pad_token_id is {self.pad_token_id!r}, expected an id below vocab_size {self.vocab_size}",
                "correct config.json",
            )

    @property
    def head_size(self) -> int:
        """Width of one attention head."""
        return self.hidden_size // self.num_attention_heads

    @property
    def block_macs(self) -> int:
        """Multiply-accumulates of a token in the linear layers of all blocks."""
        return self.num_hidden_layers * (4 * self.hidden_size**2 + 2 * self.hidden_size * self.intermediate_size)

    @property
    def activation(self) -> str:
        """The feed-forward activation: ``gelu``, ``gelu_tanh`` or ``relu``."""
        return ACTIVATIONS[self.hidden_act]

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> BertConfig:
        """Take the fields of BERT out of a ``config.json``; keys of other tools are left alone.

        Raises:
            CheckpointError: the configuration is of another architecture or has no usable sizes.
        """
        model_type = raw.get("model_type", "bert")
        if model_type != "bert":
            raise CheckpointError(f"config: model_type is {model_type!r}, expected 'bert'", "bertedge runs BERT only")
        if "model_type" not in raw:
            _refuse_other_architecture(raw.get("architectures"))
        _refuse_pruned_heads(raw.get("pruned_heads"))
        position = raw.get("position_embedding_type", "absolute")
        if position != "absolute":
            raise CheckpointError(
                f"config: position_embedding_type is {position!r}, expected 'absolute'",
                "relative positions are not part of BERT as published",
            )
        if raw.get("is_decoder") or raw.get("add_cross_attention"):
            raise CheckpointError("config: this BERT is a decoder", "bertedge runs encoders only")
        known = {f.name for f in fields(cls)}
        values = {key: value for key, value in raw.items() if key in known and value is not None}
        missing = {"vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads"} - values.keys()
        if missing:
            raise CheckpointError(
                f"config: {', '.join(sorted(missing))} missing", "take config.json from the model's own folder"
            )
        if isinstance(values["hidden_size"], int):
            values.setdefault("intermediate_size", 4 * values["hidden_size"])
        return cls(**values)

    @classmethod
    def read(cls, path: Path) -> BertConfig:
        """Read ``config.json`` (or Google's ``bert_config.json``, which has the same keys).

        Raises:
            CheckpointError: it is no configuration of a BERT.
            FileError: a Git LFS pointer, or a web page, is in its place.
        """
        refuse_placeholder(path)
        try:
            raw = json.loads(read_text(path))
        except (OSError, ValueError, RecursionError) as error:
            raise CheckpointError(f"{path}: cannot be read as JSON ({error})", FRESH_COPY) from error
        if not isinstance(raw, dict):
            raise CheckpointError(f"{path}: expected a JSON object", FRESH_COPY)
        try:
            return cls.from_dict(raw)
        except CheckpointError as error:
            raise CheckpointError(error.message.replace("config:", f"{path}:", 1), error.hint) from error

    def to_dict(self) -> dict[str, Any]:
        """The keys that ``transformers`` reads as well."""
        return {"model_type": "bert", "architectures": ["BertForPreTraining"], **asdict(self)}


def _refuse_other_architecture(architectures: object) -> None:
    """Without a ``model_type``, the name of the class that was saved tells the family."""
    for name in architectures if isinstance(architectures, list) else ():
        if isinstance(name, str) and name.startswith(OTHER_FAMILIES):
            raise CheckpointError(
                f"config: there is no model_type, and architectures names {name[:80]!r}, expected a BERT",
                "bertedge runs BERT only",
            )


def _refuse_pruned_heads(pruned: object) -> None:
    """``pruned_heads`` maps layers to the attention heads that were cut out of them."""
    layers = [str(layer)[:20] for layer, heads in pruned.items() if heads] if isinstance(pruned, dict) else []
    if layers:
        raise CheckpointError(
            f"config: pruned_heads says that attention heads were pruned in layer {', '.join(layers[:MAX_SHOWN])}",
            "pruned heads are not supported; take the checkpoint as it was before",
        )


def _is_number(value: object) -> bool:
    """Whether this is a finite number; JSON may also say a string, true, NaN, or an integer of 400 digits."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
