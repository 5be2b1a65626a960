"""The body of ``POST /``, as ``InferenceClient`` of huggingface_hub writes it for each of its tasks."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WrapValidator

from bertedge.serve.routes.tei_routes import CutBody
from bertedge.serve.schemas import LARGEST, Count, Expected

_STRICT = ConfigDict(strict=True, frozen=True, extra="ignore")
#: The most labels, words or answers that a client gets for a text.
MOST = 1000
Places = Annotated[int, Field(ge=0, le=LARGEST)]


class Compared(BaseModel):
    """Sentences that are compared with one."""

    model_config = _STRICT

    source_sentence: str
    sentences: list[str]


class Asked(BaseModel):
    """A question, and the text that may hold its answer."""

    model_config = _STRICT

    question: str
    context: str


Inputs = Annotated[
    str | list[str] | Compared | Asked,
    WrapValidator(
        Expected("a text, a list of texts, {source_sentence, sentences} or {question, context}, all of them texts")
    ),
]


class Parameters(BaseModel):
    """The parameters of all tasks; each task reads its own."""

    model_config = _STRICT

    top_k: Annotated[int, Field(ge=1, le=MOST)] | None = Field(
        default=None, description="The most labels, words or answers."
    )
    classifier: str | None = Field(default=None, description="Which classifier, if the model has several.")
    function_to_apply: Literal["sigmoid", "softmax", "none"] | None = None
    aggregation_strategy: Literal["none", "simple", "first", "average", "max"] | None = None
    ignore_labels: list[str] | None = Field(default=None, description="Entities with these labels are left out.")
    stride: Places | None = None
    targets: list[str] | None = Field(default=None, description="Only these words are proposed for a mask.")
    align_to_words: bool | None = None
    doc_stride: Places | None = None
    handle_impossible_answer: bool | None = None
    max_answer_len: Count | None = None
    candidate_labels: Any = Field(default=None, description="Refused: zero-shot classification is not offered.")


class HubBody(CutBody):
    """A request for any task. Vectors have their parameters at the top, other tasks below ``parameters``."""

    inputs: Inputs
    parameters: Parameters | None = None
    normalize: bool | None = None
    prompt_name: str | None = None
    dimensions: Count | None = None

    @property
    def texts(self) -> list[str]:
        """All texts that a model reads."""
        if isinstance(self.inputs, str):
            return [self.inputs]
        if isinstance(self.inputs, Compared):
            return [self.inputs.source_sentence, *self.inputs.sentences]
        return [self.inputs.context] if isinstance(self.inputs, Asked) else self.inputs

    @property
    def wants_vectors(self) -> bool:
        """Whether a field is given that only vectors have."""
        own = (self.normalize, self.prompt_name, self.dimensions, self.truncate, self.truncation_direction)
        return any(value is not None for value in own)
