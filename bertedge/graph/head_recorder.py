"""Records the steps of a head while it is written, for ``plan.json``."""

from __future__ import annotations

from bertedge.heads.head_writer import HeadWriter
from bertedge.plan import StepKind, StoredStep


class HeadRecorder:
    """Writes layers as another writer does; see :class:`bertedge.heads.head_writer.HeadWriter`.

    Attributes:
        steps: what was written, in order.
    """

    def __init__(self, writer: HeadWriter) -> None:
        self._writer = writer
        self.steps: list[StoredStep] = []

    @property
    def decoder_activation(self) -> str:
        """See :attr:`HeadWriter.decoder_activation`."""
        return self._writer.decoder_activation

    @property
    def decoder_divisors(self) -> tuple[float, ...]:
        """See :attr:`HeadWriter.decoder_divisors`."""
        return self._writer.decoder_divisors

    def linear(self, layer: str, x: str) -> str:
        """See :meth:`HeadWriter.linear`."""
        self._record("linear", layer)
        return self._writer.linear(layer, x)

    def activation(self, name: str, x: str, function: str) -> str:
        """See :meth:`HeadWriter.activation`."""
        self._record("activation", function)
        return self._writer.activation(name, x, function)

    def layer_norm(self, name: str, owner: str, x: str, divisors: tuple[float, ...] = ()) -> str:
        """See :meth:`HeadWriter.layer_norm`."""
        self._record("norm", name)
        return self._writer.layer_norm(name, owner, x, divisors)

    def decode(self, layer: str, x: str, bias: str) -> str:
        """See :meth:`HeadWriter.decode`."""
        self._record("linear", layer)
        return self._writer.decode(layer, x, bias)

    def _record(self, kind: StepKind, name: str) -> None:
        self.steps.append(StoredStep(kind=kind, name=name))
