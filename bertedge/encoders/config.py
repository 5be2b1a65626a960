"""Sizes and structure of an encoder of any family."""

from __future__ import annotations

import reprlib
import sys
from dataclasses import dataclass
from typing import Literal

from bertedge.errors import CheckpointError, nearest

#: ``hidden_act`` of ``config.json`` -> the function.
ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_python_tanh": "gelu_tanh",
    "gelu_accurate": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}
#: The smallest pair of texts has five tokens: ``[CLS] a [SEP] b [SEP]``.
SMALLEST = {
    "max_position_embeddings": 5,
    **dict.fromkeys(("type_vocab_size", "embedding_size", "layer_groups", "relative_buckets", "local_attention"), 0),
}
#: Fields that are whole numbers.
SIZES = (
    *("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"),
    *("max_position_embeddings", "type_vocab_size", "embedding_size", "layer_groups", "relative_buckets"),
    "local_attention",
)
#: Fields that are a share, from 0 to 1.
SHARES = ("hidden_dropout_prob", "attention_probs_dropout_prob", "initializer_range")
#: Fields that are true or false.
FLAGS = ("gated", "attention_bias", "mlp_bias", "norm_bias", "head_bias")
#: ``layer_types`` of ``config.json``: a block attends to the whole text, or to the positions in a window.
GLOBAL, LOCAL = "full_attention", "sliding_attention"
#: The smallest normal float32. A smaller number would add nothing to the variance.
LEAST_EPS = 1.18e-38
#: A larger number of layers is a mistake in the file; bertedge would list the tensors of every layer.
LARGEST = {"num_hidden_layers": 1024}
#: Extents of tensors have 32 bits in some file formats and operators.
MAX_SIZE = 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """Sizes and structure of an encoder (Devlin et al. 2019, section 3), under the names that BERT gives them.

    Attributes:
        model_type: the family.
        hidden_act: the feed-forward activation, by any of the names in :data:`ACTIVATIONS`.
        max_position_embeddings: rows of the position table, or the most tokens of a text.
        position_offset: the row of the position table that belongs to a text's first token.
        type_vocab_size: rows of the table of token types; 0 for an encoder without them.
        embedding_size: width of the embeddings; 0 if it is the hidden size.
        embedding_projection: whether a linear layer takes the embeddings to the hidden size.
        layer_groups: number of blocks with stored weights, each of which is computed several times in a row (Lan et al.
            2020, section 3.1); 0 if every block has its own weights.
        decoder_act: the activation in front of a decoder, if it is not that of the blocks.
        relative_buckets: rows of the table of relative positions, with a number for each attention head that is added
            to the scores of all blocks (Raffel et al. 2020, section 2.1); 0 for an encoder without it.
        positions: ``absolute``: a table, whose rows are added to the words'; ``rotary``: queries and keys are rotated
            by angles that grow with the position (Su et al. 2021, equation 34).
        norm: ``post``: a layer norm follows each sum (Vaswani et al. 2017); ``pre``: it precedes attention and
            feed-forward network, except in front of the first attention, which reads the embeddings' norm; one more
            follows the last block (Xiong et al. 2020, figure 1).
        gated: the feed-forward network multiplies the activated half of its inner values with the other half
            (Shazeer 2020, equation 5); ``intermediate_size`` is the size of one half.
        attention_bias, mlp_bias, norm_bias, head_bias: whether there are biases in attention, in the feed-forward
            network, in layer norms, and in the dense layer of heads.
        rope_theta, local_rope_theta: bases of the rotary angles in global and in local blocks.
        layer_types: :data:`GLOBAL` or :data:`LOCAL` for each block; empty if all are global.
        local_attention: tokens in the window of a local block, half of them on each side.
    """

    model_type: str
    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    hidden_act: str
    max_position_embeddings: int
    type_vocab_size: int
    layer_norm_eps: float
    pad_token_id: int
    hidden_dropout_prob: float
    attention_probs_dropout_prob: float
    initializer_range: float
    position_offset: int = 0
    embedding_size: int = 0
    embedding_projection: bool = False
    layer_groups: int = 0
    decoder_act: str | None = None
    relative_buckets: int = 0
    positions: Literal["absolute", "rotary"] = "absolute"
    norm: Literal["post", "pre"] = "post"
    gated: bool = False
    attention_bias: bool = True
    mlp_bias: bool = True
    norm_bias: bool = True
    head_bias: bool = True
    rope_theta: float = 0.0
    local_rope_theta: float = 0.0
    layer_types: tuple[str, ...] = ()
    local_attention: int = 0

    def __post_init__(self) -> None:
        for name in SIZES:
            self._require_size(name)
        for name in SHARES:
            value = getattr(self, name)
            if not (_is_number(value) and 0 <= value <= 1):
                raise _wrong(name, repr(value), "a number from 0 to 1")
        if not (_is_number(self.layer_norm_eps) and LEAST_EPS <= self.layer_norm_eps <= 1):
            raise _wrong("layer_norm_eps", reprlib.repr(self.layer_norm_eps), "a number above 0, at most 1")
        for name in ("layer_norm_eps", *SHARES):  # JSON writes 1.0 as 1, but ONNX distinguishes the two
            object.__setattr__(self, name, float(getattr(self, name)))
        self._require_structure()
        self._require_fit()

    def _require_size(self, name: str) -> None:
        value, least, most = getattr(self, name), SMALLEST.get(name, 1), LARGEST.get(name, MAX_SIZE)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= MAX_SIZE:
            raise _wrong(name, reprlib.repr(value), f"a whole number of at least {least}, at most {MAX_SIZE}")
        if value > most:
            raise _wrong(name, str(value), f"at most {most}")

    def _require_structure(self) -> None:
        for name in FLAGS:
            if not isinstance(getattr(self, name), bool):
                raise _wrong(name, reprlib.repr(getattr(self, name)), "true or false")
        types, count = self.layer_types, self.num_hidden_layers
        if not (isinstance(types, list | tuple) and len(types) in (0, count) and {*map(str, types)} <= {GLOBAL, LOCAL}):
            raise _wrong("layer_types", reprlib.repr(types), f"{GLOBAL!r} or {LOCAL!r} for each of the {count} layers")
        object.__setattr__(self, "layer_types", tuple(types))
        if LOCAL in types and self.local_attention < 2:
            raise _wrong("local_attention", str(self.local_attention), "at least 2")
        kinds = (types or (GLOBAL,)) if self.positions == "rotary" else ()
        for name, kind in (("rope_theta", GLOBAL), ("local_rope_theta", LOCAL)):
            value = getattr(self, name)
            if not _is_number(value) or (kind in kinds and value <= 1):
                raise _wrong(name, reprlib.repr(value), "a number above 1")
            object.__setattr__(self, name, float(value))

    def _require_fit(self) -> None:
        """Compare fields with each other, and the activation with those that are known."""
        if self.hidden_size % self.num_attention_heads:
            raise CheckpointError(
                f"config: hidden_size {self.hidden_size} is not a multiple of "
                f"num_attention_heads {self.num_attention_heads}",
                "choose a number of heads that divides the hidden size",
            )
        if self.layer_groups > self.num_hidden_layers:
            raise _wrong("layer_groups", str(self.layer_groups), f"at most num_hidden_layers {self.num_hidden_layers}")
        if self.positions == "rotary" and self.head_size % 2:
            raise CheckpointError(
                f"config: attention heads of {self.head_size} channels cannot be rotated in pairs",
                "correct config.json",
            )
        for name in ("hidden_act", "decoder_act"):
            act = getattr(self, name)
            if name == "decoder_act" and act is None:
                continue  # that of the blocks
            if not isinstance(act, str) or act not in ACTIVATIONS:
                raise CheckpointError(f"config: {name} {act!r} is not supported", nearest(str(act), ACTIVATIONS))
        if type(self.pad_token_id) is not int or not 0 <= self.pad_token_id < self.vocab_size:
            raise _wrong("pad_token_id", repr(self.pad_token_id), f"an id below vocab_size {self.vocab_size}")
        if self.max_length < SMALLEST["max_position_embeddings"]:
            least = SMALLEST["max_position_embeddings"] + self.position_offset
            raise _wrong(
                "max_position_embeddings",
                str(self.max_position_embeddings),
                f"at least {least}, since a text's first position is {self.position_offset}",
            )

    @property
    def head_size(self) -> int:
        """Width of one attention head."""
        return self.hidden_size // self.num_attention_heads

    @property
    def max_length(self) -> int:
        """The most tokens that a text may have."""
        return self.max_position_embeddings - self.position_offset

    @property
    def text_inputs(self) -> tuple[str, ...]:
        """The inputs of a graph that every call gives."""
        token_types = ("token_type_ids",) if self.type_vocab_size else ()
        return ("input_ids", "attention_mask", *token_types)

    @property
    def block_macs(self) -> int:
        """Multiply-accumulates of a token in the linear layers of all blocks."""
        matrices = 3 if self.gated else 2
        return self.num_hidden_layers * (4 * self.hidden_size**2 + matrices * self.hidden_size * self.intermediate_size)

    @property
    def activation(self) -> str:
        """The feed-forward activation: ``gelu``, ``gelu_tanh``, ``relu`` or ``silu``."""
        return ACTIVATIONS[self.hidden_act]

    @property
    def decoder_activation(self) -> str:
        """The activation in front of a decoder; names as in :attr:`activation`."""
        return ACTIVATIONS[self.hidden_act if self.decoder_act is None else self.decoder_act]

    @property
    def stored_blocks(self) -> int:
        """The number of blocks whose weights are stored."""
        return self.layer_groups or self.num_hidden_layers

    def stored_block(self, index: int) -> int:
        """The index of the stored weights of block ``index``."""
        return int(index / (self.num_hidden_layers / self.stored_blocks))  # the same rounding as in transformers

    @property
    def layers_in_words(self) -> str:
        """Depth and width, such as ``12 layers x 768``."""
        shared = " with shared weights" if self.layer_groups else ""
        return f"{self.num_hidden_layers} layers x {self.hidden_size}{shared}"

    @property
    def embedding_width(self) -> int:
        """The width of the embeddings and of a decoder's input."""
        return self.embedding_size or self.hidden_size

    def is_local(self, block: int) -> bool:
        """Whether a block attends to a window only."""
        return bool(self.layer_types) and self.layer_types[block] == LOCAL


def _wrong(name: str, value: str, expected: str) -> CheckpointError:
    return CheckpointError(f"config: {name} is {value}, expected {expected}", "correct config.json")


def _is_number(value: object) -> bool:
    """Whether this is a finite number. JSON may also hold a string, true, NaN, or an integer of 400 digits."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
