"""What a head uses to write itself into a graph. It imports no ONNX."""

from __future__ import annotations

from typing import Protocol


class HeadWriter(Protocol):
    """Writes layers into a graph; all methods return the name of a value."""

    @property
    def decoder_activation(self) -> str:
        """The activation function in front of a decoder, for :meth:`activation`."""
        ...

    @property
    def decoder_divisors(self) -> tuple[float, ...]:
        """The divisors that the layer norm before a decoder applies to its channels; see :class:`StaticInt8`."""
        ...

    def linear(self, layer: str, x: str) -> str:
        """A linear layer of :meth:`Head.layers`, by its name."""
        ...

    def activation(self, name: str, x: str, function: str) -> str:
        """An activation function: ``tanh``, or one of an encoder."""
        ...

    def layer_norm(self, name: str, owner: str, x: str, divisors: tuple[float, ...] = ()) -> str:
        """A layer norm with the tensors ``<owner>.LayerNorm.*``."""
        ...

    def decode(self, layer: str, x: str, bias: str) -> str:
        """A decoder: the table of the word embeddings, or a matrix of its own.

        Args:
            bias: the tensor of its bias.
        """
        ...
