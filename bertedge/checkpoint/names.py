"""Every tensor of a BERT: its name and shape. Names of other tools are translated here and go no further.

The canonical names are those of ``transformers``' ``BertForPreTraining``; a table for each foreign habit maps onto
them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from bertedge.config import BertConfig

EMBEDDINGS = "bert.embeddings"
WORD_EMBEDDINGS = f"{EMBEDDINGS}.word_embeddings.weight"
POSITION_EMBEDDINGS = f"{EMBEDDINGS}.position_embeddings.weight"
TOKEN_TYPE_EMBEDDINGS = f"{EMBEDDINGS}.token_type_embeddings.weight"
POOLER = "bert.pooler.dense"
MLM_TRANSFORM = "cls.predictions.transform"
DECODER = "cls.predictions.decoder.weight"
DECODER_BIAS = "cls.predictions.bias"
UNTIED_DECODER_BIAS = "cls.predictions.decoder.bias"
NSP = "cls.seq_relationship"

Shapes = dict[str, tuple[int, ...]]

#: (pattern, replacement), applied in order, that turn foreign names into canonical ones.
FOREIGN_NAMES: tuple[tuple[str, str], ...] = (
    # torch.compile, FSDP and activation checkpointing, at whatever module they were put around
    (r"(?<![^.])(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.", ""),
    # DataParallel, Lightning and other trainers, PEFT, sentence-transformers; in any combination
    (r"^((module|model|base_model|(\d+\.)?auto_model)\.)+", ""),
    (r"^(embeddings|encoder\.layer|pooler)\.", r"bert.\1."),  # a bare BertModel
    (r"\.LayerNorm\.gamma$", ".LayerNorm.weight"),  # 2018's names
    (r"\.LayerNorm\.beta$", ".LayerNorm.bias"),
    (r"^cls\.predictions\.decoder\.bias$", DECODER_BIAS),
    (r"^(bert\.encoder\.layer\.\d+\.attention)\.(query|key|value)\.", r"\1.self.\2."),
)

#: Of two tensors with one canonical name, ``transformers`` computes with this one: an untied decoder has its own bias.
PREFERRED = re.compile(r"(^|\.)cls\.predictions\.decoder\.bias$")

#: (pattern, replacement, whether the matrix is stored transposed) for Google's original TensorFlow checkpoints.
TENSORFLOW_NAMES: tuple[tuple[str, str, bool], ...] = (
    (r"^bert/embeddings/(word|position|token_type)_embeddings$", r"bert.embeddings.\1_embeddings.weight", False),
    (r"^(.*)/LayerNorm/gamma$", r"\1.LayerNorm.weight", False),
    (r"^(.*)/LayerNorm/beta$", r"\1.LayerNorm.bias", False),
    (r"^(bert/.*|cls/predictions/transform/dense)/kernel$", r"\1.weight", True),
    (r"^(bert/.*|cls/predictions/transform/dense)/bias$", r"\1.bias", False),
    (r"^cls/predictions/output_bias$", DECODER_BIAS, False),
    (r"^cls/seq_relationship/output_weights$", f"{NSP}.weight", False),
    (r"^cls/seq_relationship/output_bias$", f"{NSP}.bias", False),
)

#: Tensors that carry nothing a BERT computes with.
IGNORED = re.compile(
    r"(position|token_type)_ids$|^global_step$|/adam_[mv]$|^beta[12]_power$|num_batches_tracked$|^n_averaged$"
)


def canonical_name(foreign: str) -> str:
    """The canonical name of a PyTorch tensor; a name that is nobody's stays as it is."""
    name = foreign
    for pattern, replacement in FOREIGN_NAMES:
        name = re.sub(pattern, replacement, name)
    return name


def canonical_tensorflow_name(foreign: str) -> tuple[str, bool]:
    """The canonical name of a TensorFlow variable, and whether its matrix is to be transposed."""
    for pattern, replacement, transposed in TENSORFLOW_NAMES:
        name, hits = re.subn(pattern, replacement, foreign)
        if hits:
            return re.sub(r"layer_(\d+)", r"layer.\1", name).replace("/", "."), transposed
    return foreign, False


def layer(index: int) -> str:
    """The prefix of an encoder block."""
    return f"bert.encoder.layer.{index}"


def encoder_shapes(config: BertConfig) -> Shapes:
    """The tensors that every BERT has: embeddings and blocks."""
    hidden, inner = config.hidden_size, config.intermediate_size
    shapes: Shapes = {
        WORD_EMBEDDINGS: (config.vocab_size, hidden),
        POSITION_EMBEDDINGS: (config.max_position_embeddings, hidden),
        TOKEN_TYPE_EMBEDDINGS: (config.type_vocab_size, hidden),
        **_norm(EMBEDDINGS, hidden),
    }
    for index in range(config.num_hidden_layers):
        block = layer(index)
        for part in ("query", "key", "value"):
            shapes |= _linear(f"{block}.attention.self.{part}", hidden, hidden)
        shapes |= _linear(f"{block}.attention.output.dense", hidden, hidden)
        shapes |= _norm(f"{block}.attention.output", hidden)
        shapes |= _linear(f"{block}.intermediate.dense", inner, hidden)
        shapes |= _linear(f"{block}.output.dense", hidden, inner)
        shapes |= _norm(f"{block}.output", hidden)
    return shapes


def pooler_shapes(config: BertConfig) -> Shapes:
    """The pooler: a linear layer with tanh on ``[CLS]``."""
    return _linear(POOLER, config.hidden_size, config.hidden_size)


def mlm_shapes(config: BertConfig) -> Shapes:
    """The masked-language-model head without its decoder matrix, which is tied to the word embeddings unless stored."""
    hidden = config.hidden_size
    return {
        **_linear(f"{MLM_TRANSFORM}.dense", hidden, hidden),
        **_norm(MLM_TRANSFORM, hidden),
        DECODER_BIAS: (config.vocab_size,),
    }


def decoder_shapes(config: BertConfig) -> Shapes:
    """The decoder matrix of a checkpoint that does not tie it."""
    return {DECODER: (config.vocab_size, config.hidden_size)}


def nsp_shapes(config: BertConfig) -> Shapes:
    """The next-sentence head on top of the pooler."""
    return _linear(NSP, 2, config.hidden_size)


def expected_shapes(config: BertConfig, heads: Iterable[str]) -> Shapes:
    """All tensors of a BERT with these heads (``pooler``, ``mlm``, ``decoder``, ``nsp``)."""
    tables = {"pooler": pooler_shapes, "mlm": mlm_shapes, "decoder": decoder_shapes, "nsp": nsp_shapes}
    shapes = encoder_shapes(config)
    for head in heads:
        shapes |= tables[head](config)
    return shapes


def _linear(name: str, outputs: int, inputs: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _norm(owner: str, size: int) -> Shapes:
    return {f"{owner}.LayerNorm.weight": (size,), f"{owner}.LayerNorm.bias": (size,)}
