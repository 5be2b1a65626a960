"""The interface of encoder families: keys of ``config.json``, tensor names, and configurations to refuse."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from bertedge.encoders.config import EncoderConfig
from bertedge.encoders.foreign_names import ForeignNames
from bertedge.errors import CheckpointError

#: What a classifier of texts reads.
Reads = Literal["pooler", "first", "mean"]
#: The same, as ``config.json`` names it.
POOLINGS: dict[str, Reads] = {"cls": "first", "mean": "mean"}
#: Sizes without a default.
REQUIRED = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads")


@dataclass(frozen=True, kw_only=True)
class ClassifierLayers:
    """The layers of a classifier: an optional dense layer, and a layer with an output for each label.

    Attributes:
        dense: the owner of the tensors of a dense layer in front; None for none.
        activation: the function after the dense layer; ``decoder`` is that in front of the family's decoder.
        norm: the owner of the tensors of a layer norm after the activation; None for none.
        out: the owner of the last layer's tensors.
    """

    dense: str | None = None
    activation: Literal["tanh", "relu", "gelu", "decoder"] | None = None
    norm: str | None = None
    out: str = "classifier"

    def activation_of(self, config: EncoderConfig) -> str | None:
        """The function after the dense layer of a model."""
        return config.decoder_activation if self.activation == "decoder" else self.activation


@dataclass(frozen=True, kw_only=True)
class ClassifierStructure(ClassifierLayers):
    """How a family classifies whole texts.

    Attributes:
        reads: what its first layer reads: the pooler's output, the first token, or the mean of all tokens.
        reads_key: the key of ``config.json`` with a name of :data:`POOLINGS` that decides it; None if none does.
    """

    reads: Reads
    reads_key: str | None = None

    def reads_of(self, raw: Mapping[str, Any]) -> Reads:
        """What the first layer of a model reads.

        Raises:
            CheckpointError: ``config.json`` names something else.
        """
        told = raw.get(self.reads_key) if self.reads_key else None
        if told is None:
            return self.reads
        if not isinstance(told, str) or told not in POOLINGS:
            raise CheckpointError(
                f"config: {self.reads_key} is {str(told)[:40]!r}, expected {' or '.join(map(repr, POOLINGS))}",
                "correct config.json",
            )
        return POOLINGS[told]


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """A family of encoders.

    Attributes:
        model_type: its name in ``config.json``.
        title: its name in messages.
        class_prefix: how the names of its classes in ``transformers`` begin.
        architecture: the class in ``transformers`` with all heads that bertedge knows of this family.
        names: how its files name the tensors.
        defaults: fields of :class:`EncoderConfig` for keys that ``config.json`` leaves out, and for those that the
            family never writes.
        keys: field of :class:`EncoderConfig` -> key in ``config.json``, for all fields that are read from there.
        segments: rows that the table of token types must have; 0 if the family has no token types.
        trainable: whether bertedge trains it, and writes its checkpoints.
        refuse: raises CheckpointError for a configuration of this family that is not supported.
        derived: field of :class:`EncoderConfig` -> computes it from the other fields, where it is not given.
        current: translates the content of a ``config.json`` that other versions of ``transformers`` wrote with other
            keys.
        tokenizer_class: the class of ``transformers`` that reads its tokenizer, if the files name none;
            ``TokenizersBackend`` reads ``tokenizer.json`` as it is, whatever they name.
        classifier: the structure of its classifiers of whole texts.
        token_classifier: the layers of its classifiers of tokens.
    """

    model_type: str
    title: str
    class_prefix: str
    architecture: str
    names: ForeignNames
    defaults: Mapping[str, Any]
    keys: Mapping[str, str]
    segments: int = 0
    trainable: bool = False
    refuse: Callable[[Mapping[str, Any]], None]
    derived: Mapping[str, Callable[[Mapping[str, Any]], Any]] = field(default_factory=dict)
    current: Callable[[Mapping[str, Any]], Mapping[str, Any]] = field(default=lambda raw: raw)
    tokenizer_class: str = "BertTokenizer"
    classifier: ClassifierStructure
    token_classifier: ClassifierLayers = ClassifierLayers()

    def require_trainable(self) -> None:
        """Refuse a family that bertedge does not train.

        Raises:
            CheckpointError: it is one.
        """
        if not self.trainable:
            raise CheckpointError(f"{self.title} models can be quantized, but not trained", "train a BERT instead")

    def config(self, **sizes: Any) -> EncoderConfig:
        """Make a configuration of this family. Fields that are not given have the values of the base model.

        Raises:
            CheckpointError: a size cannot be used.
        """
        fields = {**self.defaults, **sizes}
        found = {name: compute(fields) for name, compute in self.derived.items() if name not in fields}
        config = EncoderConfig(model_type=self.model_type, **fields, **found)
        if config.type_vocab_size < self.segments:
            raise CheckpointError(
                f"config: type_vocab_size is {config.type_vocab_size}, expected a whole number of at least "
                f"{self.segments}",
                "correct config.json",
            )
        return config

    def read_config(self, raw: Mapping[str, Any]) -> EncoderConfig:
        """Read the content of a ``config.json`` of this family.

        Raises:
            CheckpointError: it is not supported, or has no usable sizes.
        """
        self.refuse(raw)
        raw = self.current(raw)
        sizes = {name: raw[key] for name, key in self.keys.items() if raw.get(key) is not None}
        missing = sorted(self.keys[name] for name in REQUIRED if name not in sizes)
        if missing:
            raise CheckpointError(
                f"config: {', '.join(missing)} missing", "take config.json from the model's own folder"
            )
        if isinstance(sizes["hidden_size"], int):
            sizes.setdefault("intermediate_size", 4 * sizes["hidden_size"])
        try:
            return self.config(**sizes)
        except CheckpointError as error:
            message = re.sub(r"\w+", lambda word: self.keys.get(word[0], word[0]), error.message)
            raise CheckpointError(message, error.hint) from error

    def write_config(self, config: EncoderConfig) -> dict[str, Any]:
        """The keys that ``transformers`` reads as well."""
        fields = asdict(config)
        written = {key: fields[name] for name, key in self.keys.items()}
        return {"model_type": self.model_type, "architectures": [self.architecture], **written}
