"""The sizes of a new model."""

from __future__ import annotations

from dataclasses import dataclass

from bertedge.encoders import BERT, EncoderConfig
from bertedge.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """The sizes that a user picks for a new model; None means the usual one for its width, or its teacher's."""

    layers: int = 4
    hidden: int = 256
    heads: int | None = None
    vocab_size: int = 30522

    def config(self, vocab_size: int, max_positions: int = 512) -> EncoderConfig:
        """A BERT of this shape: heads about 32 or 64 wide, a feed-forward four times as wide as the model.

        Raises:
            UsageError: the heads do not divide the width.
        """
        usual = max(1, self.hidden // (32 if self.hidden <= 384 else 64))
        heads = self.heads or next(count for count in range(usual, 0, -1) if self.hidden % count == 0)
        if self.hidden % heads:
            raise UsageError(
                f"{heads} attention heads do not divide a width of {self.hidden}", "choose --heads that divide --hidden"
            )
        return BERT.config(
            vocab_size=vocab_size,
            hidden_size=self.hidden,
            num_hidden_layers=self.layers,
            num_attention_heads=heads,
            intermediate_size=4 * self.hidden,
            max_position_embeddings=max_positions,
        )
