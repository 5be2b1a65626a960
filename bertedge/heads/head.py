"""The interface of heads: all data and code for one kind of answer of a model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from bertedge.array_spec import ArraySpec
from bertedge.encoders.names import Shapes
from bertedge.encoding import Encoding
from bertedge.example import Example
from bertedge.heads.cases import Worst
from bertedge.heads.head_writer import HeadWriter
from bertedge.heads.structure import Found, Structure
from bertedge.heads.verb import Verb
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
            a hidden state, TOP best tokens; a head's name stands for the last extent of its output.
        kind: how two such arrays are compared: probabilities by their largest difference; vectors and scores by their
            largest difference, relative to the largest value, and vectors by their cosine too; ids not at all.
            Probabilities are compared only if the ``given ids`` of both are equal.
    """

    spec: ArraySpec
    kind: Literal["ids", "given ids", "probabilities", "vectors", "scores"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Head(ABC):
    """One kind of answer of a model. A new head defines these attributes and methods.

    Attributes:
        name: of the head in reports, labels and logits.
        words: the kind of answer in words, such as "masked-word".
        reads: the positions that it is computed for; ``pair`` is the first token of a pair of texts.
        reads_questions: whether it reads pairs of a short text and a longer one, such as a question and its context.
        outputs: positions of the graph (``masked`` or ``all``) -> name of the output; the latter as in Optimum. Several
            names if Optimum reads each number of the last extent from an output of its own.
        needs_pooler: whether it reads the pooler's output instead of a hidden state; see :meth:`reads_pooler`.
        in_every_model: whether every model has it, because it has no tensors.
        mark: the tensor that shows that a checkpoint has this head, if one tensor shows it; see :meth:`is_in`.
        settings_type: a frozen dataclass with what a checkpoint says about this head, such as its labels.
        architecture: the class in ``transformers`` of a model with this head alone, without the family's name.
        part_names: pattern of layer names -> name of the part in the report.
        metrics: name -> metric, in the order of the report.
        labels: type and shape of right answers, with sizes as in :class:`GoldenArray`; None for a head without labels.
        max_change: the metric for the effect of the other texts of a batch on an answer.
        goals: the limits that users can set.
        budgets: metric -> default limits of the gate; see :class:`bertedge.report.budget.Budget`.
        smooth_loss: a metric that changes with every bit of the outputs, to compare candidates and layers.
        main_metric: a metric that users understand, which is recorded next to ``smooth_loss``.
        trade_offs: metric -> name of the axis, for the picture of accuracy against latency.
        over_length: metric -> name of the axis, for the picture of fidelity by length.
        columns: metric -> title of the column, in tables of several CPUs.
        losses: metric -> a function that puts its value in words. A report's sentence has those of its main head.
        kept: metric with a ``..._drop`` -> its name in that sentence, which has the candidate's and float's value.
        pipeline_tag: the hub's name of its task, such as "fill-mask"; None if the hub has none.
        verb: the command that uses it, and its method of :class:`bertedge.BertRuntime`.
        task: its training task on text without labels, in words; None for a head that needs labels.
        answers: its best answers in words, such as "best words"; empty for a head that chooses nothing.
        lists: name of a list of worst disagreements, such as "mlm.flips" -> its heading in the report.
    """

    name: ClassVar[str]
    words: str
    reads: Literal["masked", "first", "every", "pair"]
    reads_questions: bool = False
    outputs: Mapping[str, str | tuple[str, ...]]
    needs_pooler: bool = False
    in_every_model: bool = False
    mark: str | None = None
    settings_type: type | None = None
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
    kept: Mapping[str, str] = field(default_factory=dict)
    pipeline_tag: str | None = None
    verb: Verb
    task: str | None = None
    answers: str = ""
    lists: Mapping[str, str] = field(default_factory=dict)

    # -- weights and graph --------------------------------------------------------------------------------------

    def output_names(self, positions: str) -> tuple[str, ...]:
        """Its outputs in a graph; see :attr:`outputs`."""
        names = self.outputs[positions]
        return (names,) if isinstance(names, str) else names

    @property
    def key(self) -> str:
        """The name of its output in :class:`bertedge.predictor.Outputs`: the head's name, or ``hidden_states``."""
        return self.name

    @property
    def needs_documents(self) -> bool:
        """Whether it is measured on pairs of next and of random sentences, from documents of several sentences."""
        return self.reads == "pair" and self.task is not None

    def is_in(self, found: Found) -> bool:
        """Whether a checkpoint has this head."""
        return self.mark is not None and self.mark in found.tensors

    def read_settings(self, found: Found) -> Any:
        """What a checkpoint with this head says about it: an object of ``settings_type``.

        Raises:
            CheckpointError: it cannot be used.
        """
        return None

    def about(self, settings: Any) -> list[str]:
        """What the settings say, for people, a line each."""
        return []

    def warnings(self, found: Found) -> tuple[str, ...]:
        """Warnings about what a checkpoint with this head says about it, a sentence each."""
        return ()

    def config_keys(self, settings: Any) -> dict[str, Any]:
        """Keys of ``config.json`` by which other tools know the settings, such as ``id2label``."""
        return {}

    def reads_pooler(self, settings: Any) -> bool:
        """Whether it reads the pooler's output instead of a hidden state."""
        return self.needs_pooler

    def reads_mean(self, settings: Any) -> bool:
        """Whether it reads the mean of all hidden states."""
        return False

    def longest(self, settings: Any) -> int | None:
        """The most tokens of a text that its method reads; None if they are all that the model can read."""
        return None

    @abstractmethod
    def size(self, model: Structure) -> int:
        """The last extent of its output."""

    def shapes(self, model: Structure) -> Shapes:
        """Its tensors, by canonical name."""
        return {}

    def layers(self, model: Structure) -> tuple[Layer, ...]:
        """Its linear layers, in the order of computation; their names begin with the head's."""
        return ()

    def write(self, w: HeadWriter, model: Structure, x: str) -> str:
        """Write it into a graph.

        Args:
            x: what it reads: (B, K, H) for masked positions, (B, S, H) for every position, otherwise (B, H).

        Returns:
            The logits, with the same positions.
        """
        raise NotImplementedError

    # -- labelled data -------------------------------------------------------------------------------------------

    def text_label(self, hidden: NDArray[np.int64], follows: int | None) -> NDArray[np.int64] | None:
        """The right answer to a text without labels, a row of :attr:`labels`; None for a head that needs labels.

        Args:
            hidden: the tokens under the masks, (K,).
            follows: of a pair, 0 if the second text follows the first, 1 if it does not; None if it is unknown.
        """
        return None

    def target(self, example: Example, encoding: Encoding, settings: Any) -> NDArray[Any] | None:
        """The right answer to a labelled example, one row of :attr:`bertedge.predictor.Batch.labels`.

        None if the example has no answer for this head.

        Args:
            encoding: the example as the model reads it.

        Raises:
            CorpusError: the answer does not fit the model, such as a label that it does not have.
        """
        return None

    # -- fidelity: a candidate's outputs next to a reference's ---------------------------------------------------

    @abstractmethod
    def read(self, batch: Batch, outputs: Outputs, settings: Any) -> Arrays:
        """The arrays of a batch's outputs that are compared; empty if the model lacks the head or labels are missing.

        Args:
            settings: an object of ``settings_type``, or None; the same in the other methods.
        """

    @abstractmethod
    def compare(self, batch: Batch, expected: Arrays, got: Arrays, settings: Any) -> dict[str, Observed]:
        """Compare the results of :meth:`read` for both models: group of observations -> observations."""

    def keep(self, batch: Batch, expected: Arrays) -> Arrays:
        """The arrays of a reference that are kept to compare many candidates with it."""
        return expected

    def compare_kept(self, batch: Batch, kept: Arrays, got: Arrays, settings: Any) -> dict[str, Observed]:
        """As :meth:`compare`, with the arrays of :meth:`keep`. It may leave out slow quantities."""
        return self.compare(batch, kept, got, settings)

    def together(self, group: str, values: Quantities) -> NDArray[np.int64] | None:
        """Equal numbers for observations whose texts are compared with each other, (N,); None if each stands alone."""
        return None

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
    def golden(self, settings: Any, *, pooler: bool) -> Mapping[str, GoldenArray]:
        """Name -> array of the golden vectors. No two heads share a name.

        Args:
            settings: None for the arrays of all models.
            pooler: whether the model has one.
        """

    @abstractmethod
    def record(self, batch: Batch, outputs: Outputs, given: Arrays, settings: Any) -> Arrays:
        """The golden arrays of some outputs; empty if the model lacks the head.

        Args:
            given: an earlier record, whose best tokens are recorded again; empty for this model's own best tokens.
        """

    def lost_lead(self, got: Arrays, expected: Arrays, settings: Any) -> float:
        """The largest expected lead of a best answer that is no longer the best; 0 if all best answers are equal."""
        return 0.0

    def same_answers(self, batch: Batch, got: Arrays, expected: Arrays, settings: Any) -> NDArray[np.bool_] | None:
        """Whether the best answers of two records are the same, (N,).

        None for a head that chooses nothing, or for a model without it.
        """
        return None

    # -- worst disagreements -------------------------------------------------------------------------------------

    def worst(self, tokenizer: Tokenizer, settings: Any) -> Worst | None:
        """An empty collection of the worst disagreements; None for a head that does not list any."""
        return None
