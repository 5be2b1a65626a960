"""The interface of heads: all data and code for one kind of answer of a model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from bertedge.arrays import ArraySpec
from bertedge.encoders import EncoderConfig
from bertedge.encoders.names import Shapes
from bertedge.heads.cases import Case
from bertedge.layers import Layer
from bertedge.metric import GoalKind, Metric
from bertedge.predictor import Batch, Outputs
from bertedge.tokenizer import Tokenizer

Arrays = dict[str, NDArray[Any]]
#: Best tokens of each masked position in the golden vectors.
GOLDEN_TOP = 16
#: Quantity -> one number for each observation.
Quantities = dict[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Observed:
    """One group of observations in a batch, such as its masked positions.

    Attributes:
        values: quantity -> one number for each observation, (N,). An array (N, D) is for :meth:`Head.finish`.
        rows: the row of the batch that each observation belongs to, (N,).
    """

    values: Quantities
    rows: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class GoldenArray:
    """An array of the golden vectors.

    Attributes:
        spec: its type and shape, of B examples, S tokens, K masked positions, V tokens of the vocabulary, H numbers of
            a hidden state, TOP best tokens.
        kind: how two such arrays are compared: probabilities and vectors by their largest difference, ids not at all.
            Probabilities are compared only if the ``given ids`` of both are equal.
    """

    spec: ArraySpec
    kind: Literal["ids", "given ids", "probabilities", "vectors"]


@dataclass(frozen=True, kw_only=True)
class Argument:
    """A text argument of a command."""

    name: str
    help: str


@dataclass(frozen=True, kw_only=True)
class Option:
    """A number that a command takes as an option; ``least`` or more."""

    name: str
    default: int
    least: int
    help: str


@dataclass(frozen=True, kw_only=True)
class Verb:
    """A command that uses a head.

    Attributes:
        method: of :class:`bertedge.BertRuntime`; it takes the arguments in order, and the options by name.
        example: arguments for the help page.
        lines: the answer for people, line by line.
        to_json: the answer for programs.
    """

    name: str
    method: str
    help: str
    arguments: tuple[Argument, ...]
    options: tuple[Option, ...] = ()
    example: tuple[str, ...]
    lines: Callable[[Any], Iterable[str]]
    to_json: Callable[[Any], Any] = lambda answer: answer


class HeadWriter(Protocol):
    """Writes layers into a graph; all methods return the name of a value."""

    @property
    def decoder_divisors(self) -> tuple[float, ...]:
        """The divisors that the layer norm before a decoder applies to its channels; see :class:`StaticInt8`."""
        ...

    def linear(self, layer: str, x: str) -> str:
        """A linear layer of :meth:`Head.layers`, by its name."""
        ...

    def decoder_activation(self, name: str, x: str) -> str:
        """The activation function in front of a decoder."""
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


class Worst(Protocol):
    """Collects the texts on which a candidate differs most from its reference, batch by batch."""

    def add(self, batch: Batch, expected: Arrays, got: Arrays) -> None:
        """Compare the results of :meth:`Head.read` for both models on one batch."""
        ...

    def found(self) -> dict[str, tuple[Case, ...]]:
        """The worst texts so far, worst first, by the names of the lists in :attr:`Head.lists`."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Head(ABC):
    """One kind of answer of a model. A new head defines these attributes and methods.

    Attributes:
        name: of the head in reports, labels and logits.
        words: the kind of answer in words, such as "masked-word".
        reads: the positions that it is computed for; ``pair`` is the first token of a pair of texts.
        outputs: positions of the graph (``masked`` or ``all``) -> name of the output; the latter as in Optimum.
        needs_pooler: whether it reads the pooler's output instead of a hidden state.
        mark: the tensor that shows that a checkpoint has this head; None for a head that every model has.
        architecture: the class in ``transformers`` of a model with this head alone, without the family's name.
        part_names: pattern of layer names -> name of the part in the report.
        metrics: name -> metric, in the order of the report.
        labels: type and shape of the right answers in a batch; None for a head without labels. Sizes as in
            :class:`GoldenArray`.
        max_change: the metric for the effect of the other texts of a batch on an answer: ``max_prob_diff`` or
            ``max_vector_diff``.
        goals: the limits that users can set.
        budgets: metric -> default limits of the gate; see :class:`bertedge.report.budget.Budget`.
        smooth_loss: a metric that changes with every bit of the outputs, to compare candidates and layers.
        main_metric: a metric that users understand, which is recorded next to ``smooth_loss``.
        trade_offs: metric -> name of the axis, for the picture of accuracy against latency.
        over_length: metric -> name of the axis, for the picture of fidelity by length.
        columns: metric -> title of the column, in tables of several CPUs.
        losses: metric -> a function that puts its value in words. A report's first sentence uses the first metric
            that was measured.
        verb: the command that uses it, and its method of :class:`bertedge.BertRuntime`.
        task: its training task on text without labels, in words; None for a head that needs labels.
        lists: name of a list of worst disagreements, such as "mlm.flips" -> its heading in the report; see
            :mod:`bertedge.heads.cases`.
    """

    name: ClassVar[str]
    words: str
    reads: Literal["masked", "first", "every", "pair"]
    outputs: Mapping[str, str]
    needs_pooler: bool = False
    mark: str | None = None
    architecture: str | None = None
    part_names: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, Metric]
    labels: ArraySpec | None = None
    max_change: Literal["max_prob_diff", "max_vector_diff"] = "max_prob_diff"
    goals: tuple[GoalKind, ...] = ()
    budgets: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    smooth_loss: str
    main_metric: str
    trade_offs: Mapping[str, str] = field(default_factory=dict)
    over_length: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    losses: Mapping[str, Callable[[float], str]] = field(default_factory=dict)
    verb: Verb
    task: str | None = None
    lists: Mapping[str, str] = field(default_factory=dict)

    # -- weights and graph --------------------------------------------------------------------------------------

    @property
    def key(self) -> str:
        """The name of its output in :class:`bertedge.predictor.Outputs`: the head's name, or ``hidden_states``."""
        return self.name

    @abstractmethod
    def size(self, config: EncoderConfig) -> int:
        """The last extent of its output."""

    def shapes(self, config: EncoderConfig, *, tied: bool) -> Shapes:
        """Its tensors, by canonical name.

        Args:
            tied: whether its decoder, if it has one, is the table of the word embeddings.
        """
        return {}

    def layers(self, config: EncoderConfig, *, tied: bool) -> tuple[Layer, ...]:
        """Its linear layers, in the order of computation; their names begin with the head's."""
        return ()

    def write(self, w: HeadWriter, x: str) -> str:
        """Write it into a graph.

        Args:
            x: what it reads: (B, K, H) for masked positions, (B, S, H) for every position, otherwise (B, H).

        Returns:
            The logits, with the same positions.
        """
        raise NotImplementedError

    # -- fidelity: a candidate's outputs next to a reference's ---------------------------------------------------

    @abstractmethod
    def read(self, batch: Batch, outputs: Outputs, pooling: Sequence[str]) -> Arrays:
        """The arrays of a batch's outputs that are compared; empty if the model lacks the head or labels are missing.

        Args:
            pooling: how a text's vector is made; see :func:`bertedge.pooling.pool`.
        """

    @abstractmethod
    def compare(self, batch: Batch, expected: Arrays, got: Arrays) -> dict[str, Observed]:
        """Compare the results of :meth:`read` for both models: group of observations -> observations."""

    def keep(self, batch: Batch, expected: Arrays) -> Arrays:
        """The arrays of a reference that are kept to compare many candidates with it."""
        return expected

    def compare_kept(self, batch: Batch, kept: Arrays, got: Arrays) -> dict[str, Observed]:
        """As :meth:`compare`, with the arrays of :meth:`keep`. It may leave out slow quantities."""
        return self.compare(batch, kept, got)

    def finish(self, group: str, values: Quantities) -> Quantities:
        """Compute the quantities, each (N,), that need the values of all batches at once."""
        return values

    @abstractmethod
    def change(self, batch: Batch, row: int, among: Outputs, alone: Outputs) -> float | None:
        """How much the answer to a text changes among other texts; None if the model lacks the head.

        Args:
            batch: the text alone.
            row: its row in ``among``.
        """

    # -- golden vectors ------------------------------------------------------------------------------------------

    @abstractmethod
    def golden(self, *, pooler: bool) -> Mapping[str, GoldenArray]:
        """Name -> array of the golden vectors. No two heads share a name.

        Args:
            pooler: whether the model has one.
        """

    @abstractmethod
    def record(self, batch: Batch, outputs: Outputs, given: Arrays) -> Arrays:
        """The golden arrays of some outputs; empty if the model lacks the head.

        Args:
            given: an earlier record, whose best tokens are recorded again; empty for this model's own best tokens.
        """

    def lost_lead(self, got: Arrays, expected: Arrays) -> float:
        """The largest expected lead of a best answer that is no longer the best; 0 if all best answers are equal."""
        return 0.0

    # -- worst disagreements -------------------------------------------------------------------------------------

    def worst(self, tokenizer: Tokenizer) -> Worst | None:
        """An empty collection of the worst disagreements; None for a head that does not list any."""
        return None
