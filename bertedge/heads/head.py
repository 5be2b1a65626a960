"""What a head is: everything that the tree knows about one kind of answer that a model gives."""

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
from bertedge.layers import Layer
from bertedge.metric import GoalKind, Metric
from bertedge.predictor import Batch, Outputs
from bertedge.tokenizer import Tokenizer

Arrays = dict[str, NDArray[Any]]
#: Best tokens that golden vectors keep.
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
        kind: how two of them are compared: probabilities and vectors by their largest difference, ids not at all.
            Probabilities of different ``given ids`` are not compared.
    """

    spec: ArraySpec
    kind: Literal["ids", "given ids", "probabilities", "vectors"]


@dataclass(frozen=True, kw_only=True)
class Argument:
    """A text that a command takes."""

    name: str
    help: str


@dataclass(frozen=True, kw_only=True)
class Option:
    """A number that a command takes, ``least`` or more."""

    name: str
    default: int
    least: int
    help: str


@dataclass(frozen=True, kw_only=True)
class Verb:
    """A command that uses a head.

    Attributes:
        method: of :class:`bertedge.BertRuntime`; it takes the arguments in order, and the options by name.
        example: arguments that make sense.
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
        """What the layer norm in front of a decoder divides its channels by; see :class:`StaticInt8`."""
        ...

    def linear(self, layer: str, x: str) -> str:
        """A linear layer of :meth:`Head.layers`, by its name."""
        ...

    def activation(self, name: str, x: str) -> str:
        """The activation function of the model's configuration."""
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

    def add(self, batch: Batch, expected: NDArray[np.float32], got: NDArray[np.float32]) -> None:
        """Look at the head's logits of both models on one batch."""
        ...

    def found(self) -> dict[str, tuple[Any, ...]]:
        """The worst so far, the worst first: list of :attr:`Head.cases` -> its cases."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Head(ABC):
    """A kind of answer; see the attributes and methods for all that a new one has to bring.

    Attributes:
        name: of the head in reports, labels and logits.
        words: its kind of answer in words, such as "masked-word".
        reads: the positions that it is computed for; ``pair``: the first token of two texts.
        outputs: positions of the graph (``masked`` or ``all``) -> name of the output; the latter as in Optimum.
        needs_pooler: whether it reads the pooler's output instead of a hidden state.
        mark: the tensor that shows that a checkpoint has it; None for what every model has.
        architecture: the class in ``transformers`` of a model with this head alone, without the family's name.
        part_names: pattern of layer names -> name of the part in the report.
        metrics: name -> metric, in the order of the report.
        labels: what the head should answer in a batch, if it can be labelled; sizes as for :class:`GoldenArray`.
        max_change: the metric that says how far an answer depends on the other texts of a batch: ``max_prob_diff`` or
            ``max_vector_diff``.
        goals: what users can bound.
        budgets: metric -> default limits of the gate; see :class:`bertedge.report.budget.Budget`.
        smooth_loss: the metric that moves with every bit, so that candidates and layers can be compared by it.
        main_metric: the metric that users understand, which is recorded next to it.
        trade_offs: metric -> name of the axis, for the picture of accuracy against latency.
        over_length: metric -> name of the axis, for the picture of fidelity by length.
        columns: metric -> title of the column, in tables of several CPUs.
        losses: metric -> what a value means in words, for a report's first sentence; the first that was measured.
        verb: the command that uses it, and its method of :class:`bertedge.BertRuntime`.
        task: what text without labels teaches it, in words; None for what is not trained so.
        cases: list of the report's worst disagreements -> the record of one of them.
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
    cases: Mapping[str, type] = field(default_factory=dict)

    # -- weights and graph --------------------------------------------------------------------------------------

    @property
    def key(self) -> str:
        """Its output in :class:`bertedge.predictor.Outputs`: its name, or ``hidden_states``."""
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
        """What is compared of a batch's outputs; nothing where the model lacks the head, or the batch has no labels.

        Args:
            pooling: how a text's vector is made; see :func:`bertedge.pooling.pool`.
        """

    @abstractmethod
    def compare(self, batch: Batch, expected: Arrays, got: Arrays) -> dict[str, Observed]:
        """Group of observations -> what was observed, from what :meth:`read` gave for both models."""

    def keep(self, batch: Batch, expected: Arrays) -> Arrays:
        """What of a reference is kept to be compared with many candidates: all that does not depend on them."""
        return expected

    def compare_kept(self, batch: Batch, kept: Arrays, got: Arrays) -> dict[str, Observed]:
        """As :meth:`compare`, with what was kept; it may leave out what takes longest."""
        return self.compare(batch, kept, got)

    def finish(self, group: str, values: Quantities) -> Quantities:
        """The quantities of all batches, each (N,); for those that need all texts at once."""
        return values

    @abstractmethod
    def change(self, batch: Batch, row: int, among: Outputs, alone: Outputs) -> float | None:
        """How far the answer to one text differs between two runs; None where the model lacks the head.

        Args:
            batch: the text alone.
            row: its row in ``among``.
        """

    # -- golden vectors ------------------------------------------------------------------------------------------

    @abstractmethod
    def golden(self, *, pooler: bool) -> Mapping[str, GoldenArray]:
        """Name -> array of the golden vectors; the names of all heads differ.

        Args:
            pooler: whether the model has one.
        """

    @abstractmethod
    def record(self, batch: Batch, outputs: Outputs, given: Arrays) -> Arrays:
        """The golden arrays of some outputs; nothing where the model lacks the head.

        Args:
            given: an earlier record, whose answers are to be looked at again; may be empty.
        """

    def lost_lead(self, got: Arrays, expected: Arrays) -> float:
        """By how much an expected best answer that was not given led before, at most; 0 if all are as they were."""
        return 0.0

    # -- worst disagreements -------------------------------------------------------------------------------------

    def worst(self, tokenizer: Tokenizer) -> Worst | None:
        """A fresh collection of the worst disagreements; None for a head that shows none."""
        return None
