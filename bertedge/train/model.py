"""BERT with the pretraining heads that a model has, in torch (Devlin et al. 2019; Vaswani et al. 2017, section 3).

Modules are named so that ``state_dict()`` has the canonical tensor names of :mod:`bertedge.encoders.names`.
Shapes: B rows, S positions, H hidden size, N heads, V tokens, M masked positions in the whole batch.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bertedge.checkpoint import Checkpoint
from bertedge.encoders import EncoderConfig
from bertedge.errors import CheckpointError
from bertedge.heads import TASKS
from bertedge.heads.parts import Parts

ALL_PARTS = Parts(TASKS)
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "relu": F.relu,
    "silu": F.silu,
}


class Embeddings(nn.Module):
    """Word + position + segment embeddings, layer norm, dropout."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        segments = config.type_vocab_size
        self.token_type_embeddings = nn.Embedding(segments, config.hidden_size) if segments else None
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.offset = config.position_offset

    def forward(self, input_ids: Tensor, token_type_ids: Tensor) -> Tensor:
        """(B, S), (B, S) -> (B, S, H)"""
        positions = self.position_embeddings.weight[self.offset : self.offset + input_ids.shape[1]]
        summed = self.word_embeddings(input_ids) + positions
        if self.token_type_embeddings is not None:
            summed = summed + self.token_type_embeddings(token_type_ids)
        return self.dropout(self.LayerNorm(summed))


def _attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, dropout: float) -> Tensor:
    """Scaled dot-product attention (Vaswani et al. 2017, equation 1), (B, N, S, D) each."""
    return F.scaled_dot_product_attention(query, key, value, attn_mask=bias, dropout_p=dropout)


def _attend_by_products(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, dropout: float) -> Tensor:
    """The same for bfloat16 on a CPU, because there the backward pass of torch's fused operator is slow.

    Measured with torch 2.13 on AVX512-BF16, 32 rows of 128 positions, 12 heads of 32: 12 + 18 ms instead of 18 + 103 ms
    for the forward and the backward pass.
    """
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    if bias is not None:
        scores = scores + bias.to(scores.dtype)
    return F.dropout(scores.softmax(-1), dropout) @ value


class SelfAttention(nn.Module):
    """Query, key and value projections and scaled dot-product attention over N heads."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.num_heads = config.num_attention_heads
        self.query = nn.Linear(config.hidden_size, config.hidden_size)
        self.key = nn.Linear(config.hidden_size, config.hidden_size)
        self.value = nn.Linear(config.hidden_size, config.hidden_size)
        self.dropout_prob = config.attention_probs_dropout_prob

    def forward(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """(B, S, H), (B, 1, 1, S) added to the scores -> (B, S, H)"""
        query, key, value = (self._split(project(x)) for project in (self.query, self.key, self.value))
        attend = _attend_by_products if query.device.type == "cpu" and query.dtype == torch.bfloat16 else _attend
        context = attend(query, key, value, bias, self.dropout_prob if self.training else 0.0)
        return context.transpose(1, 2).flatten(2)

    def _split(self, x: Tensor) -> Tensor:
        """(B, S, H) -> (B, N, S, H / N)"""
        return x.unflatten(2, (self.num_heads, -1)).transpose(1, 2)


class Residual(nn.Module):
    """Linear, dropout, skip connection, layer norm."""

    def __init__(self, inputs: int, config: EncoderConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(inputs, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(B, S, inputs), (B, S, H) -> (B, S, H)"""
        return self.LayerNorm(self.dropout(self.dense(x)) + skip)


class Attention(nn.Module):
    """Self-attention, its output layer and the skip connection."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.self = SelfAttention(config)
        self.output = Residual(config.hidden_size, config)

    def forward(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """(B, S, H), (B, 1, 1, S) -> (B, S, H)"""
        return self.output(self.self(x, bias), x)


class Dense(nn.Module):
    """A linear layer and an activation."""

    def __init__(self, inputs: int, outputs: int, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.dense = nn.Linear(inputs, outputs)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) -> (..., outputs)"""
        return self.activation(self.dense(x))


class Block(nn.Module):
    """One encoder block."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.intermediate = Dense(config.hidden_size, config.intermediate_size, ACTIVATIONS[config.activation])
        self.output = Residual(config.intermediate_size, config)

    def forward(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """(B, S, H), (B, 1, 1, S) -> (B, S, H)"""
        x = self.attention(x, bias)
        return self.output(self.intermediate(x), x)


class Encoder(nn.Module):
    """A stack of blocks; returns the output of each."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(Block(config) for _ in range(config.num_hidden_layers))

    def forward(self, x: Tensor, bias: Tensor | None) -> list[Tensor]:
        """(B, S, H) -> the embeddings and every block's output, each (B, S, H)"""
        states = [x]
        for block in self.layer:
            states.append(block(states[-1], bias))
        return states


class Transform(nn.Module):
    """The first layer of the MLM head."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = ACTIVATIONS[config.activation]
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        """(M, H) -> (M, H)"""
        return self.LayerNorm(self.activation(self.dense(x)))


class MaskedLanguageModel(nn.Module):
    """The MLM head. The decoder matrix is the word embedding table, unless the checkpoint has a separate one."""

    def __init__(self, config: EncoderConfig, *, tied: bool) -> None:
        super().__init__()
        self.transform = Transform(config)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))
        self.decoder = None if tied else nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    def forward(self, x: Tensor, word_embeddings: Tensor) -> Tensor:
        """(M, H), (V, H) -> (M, V)"""
        table = word_embeddings if self.decoder is None else self.decoder.weight
        return F.linear(self.transform(x), table, self.bias)


class Heads(nn.Module):
    """The heads that the model has."""

    def __init__(self, config: EncoderConfig, parts: Parts) -> None:
        super().__init__()
        self.predictions = MaskedLanguageModel(config, tied=parts.tied) if "mlm" in parts.heads else None
        self.seq_relationship = nn.Linear(config.hidden_size, 2) if "nsp" in parts.heads else None


class PretrainingOutput(NamedTuple):
    """``logits``: head -> logits of each head that runs, ``mlm`` (M, V), ``nsp`` (B, 2). L + 1 states (B, S, H)."""

    logits: dict[str, Tensor]
    hidden_states: list[Tensor]


class BertForPreTraining(nn.Module):
    """The whole model. New weights are normal with standard deviation ``initializer_range``; biases are zero."""

    def __init__(self, config: EncoderConfig, parts: Parts = ALL_PARTS) -> None:
        super().__init__()
        self.config, self.parts = config, parts
        self.tasks = tuple(task for task in TASKS if task in parts.heads)
        self.embeddings = Embeddings(config)
        self.encoder = Encoder(config)
        self.pooler = Dense(config.hidden_size, config.hidden_size, torch.tanh) if parts.pooler else None
        self.cls = Heads(config, parts)
        self.apply(self._initialize)

    def _initialize(self, module: nn.Module) -> None:
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=self.config.initializer_range)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None, token_type_ids: Tensor, masked_index: Tensor
    ) -> PretrainingOutput:
        """Run the heads of :attr:`tasks`. The MLM head runs at the masked positions only.

        Args:
            input_ids: (B, S).
            attention_mask: (B, S), 0 at padding; None without padding, which is faster.
            token_type_ids: (B, S).
            masked_index: (M,), indices into the flattened (B * S) positions.
        """
        bias = None
        if attention_mask is not None:
            bias = (1.0 - attention_mask[:, None, None, :].float()) * torch.finfo(torch.float32).min
        states = self.encoder(self.embeddings(input_ids, token_type_ids), bias)
        logits: dict[str, Tensor] = {}
        if self.cls.predictions is not None and "mlm" in self.tasks:
            masked = states[-1].flatten(0, 1)[masked_index]
            logits["mlm"] = self.cls.predictions(masked, self.embeddings.word_embeddings.weight)
        if self.cls.seq_relationship is not None and self.pooler is not None and "nsp" in self.tasks:
            logits["nsp"] = self.cls.seq_relationship(self.pooler(states[-1][:, 0]))
        return PretrainingOutput(logits, states)

    def streams(self, last: Tensor | None = None) -> list[Tensor]:
        """Samples of the residual stream besides hidden states, (rows, H): the words, or the MLM transform of states.

        Args:
            last: states of the last block at masked positions, (M, H); None for the words.
        """
        if last is None:
            return [self.embeddings.word_embeddings.weight.detach()]
        return [] if self.cls.predictions is None else [self.cls.predictions.transform(last)]

    def train_only(self, tasks: Collection[str]) -> None:
        """Run and train the heads of these tasks only."""
        self.tasks = tuple(task for task in self.tasks if task in tasks)
        kept: list[nn.Module | None] = []
        if "mlm" not in self.tasks:
            kept.append(self.cls.predictions)
        if "nsp" not in self.tasks:
            kept += [self.pooler, self.cls.seq_relationship]
        for module in kept:
            if module is not None:
                module.requires_grad_(False)

    def set_dropout(self, share: float) -> None:
        """Set the dropout of hidden states and of attention."""
        for module in self.modules():
            if isinstance(module, nn.Dropout):
                module.p = share
            elif isinstance(module, SelfAttention):
                module.dropout_prob = share

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, add: Collection[str] = ()) -> BertForPreTraining:
        """Load a checkpoint with those of its heads that are trained on text without labels.

        Args:
            add: heads to add with new weights, if the checkpoint lacks them.
        """
        parts = checkpoint.parts.learned_from_text
        model, known = cls(checkpoint.config, parts.with_heads(add)), parts.shapes(checkpoint.config)
        found = {name: torch.from_numpy(tensor) for name, tensor in checkpoint.tensors() if name in known}
        unexpected = model.load_state_dict(found, strict=False).unexpected_keys
        if unexpected:
            raise CheckpointError(f"{checkpoint.name}: no place for {', '.join(unexpected)}", "report this as a bug")
        return model

    def float_tensors(self) -> dict[str, Tensor]:
        """Every weight under its canonical name, detached, float32."""
        known = self.parts.shapes(self.config)
        return {name: t.detach().float().cpu() for name, t in self.state_dict().items() if name in known}
