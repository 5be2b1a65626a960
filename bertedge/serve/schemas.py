"""What the bodies of requests may hold, and sentences about those that hold something else.

Bodies are checked strictly: a number is not a text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator
from pydantic_core import ErrorDetails, PydanticCustomError

from bertedge.printable import one_line

#: The largest whole number in a request; no id, length or count comes near it.
LARGEST = 2**31 - 1
#: The most characters of a wrong value in a message.
SHOWN = 40
#: The kinds of errors that come with a whole sentence.
EXPECTED = "expected"
#: pydantic's kinds of errors -> what was expected, with words from their context.
KINDS = {
    "string_type": "expected a text, got {got}",
    "int_type": "expected a whole number, got {got}",
    "int_from_float": "expected a whole number, got {got}",
    "float_type": "expected a number, got {got}",
    "bool_type": "expected true or false, got {got}",
    "list_type": "expected a list, got {got}",
    "model_type": "expected an object, got {got}",
    "literal_error": "expected {expected}, got {got}",
    "greater_than_equal": "expected at least {ge}, got {got}",
    "less_than_equal": "expected at most {le}, got {got}",
    "too_short": "expected at least {min_length} items, got {actual_length}",
    "too_long": "expected at most {max_length} items, got {actual_length}",
}


class Body(BaseModel):
    """The JSON object of a request."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", protected_namespaces=())

    model: str | None = Field(default=None, description="The bundle that answers. Default: the first one that can.")


B = TypeVar("B", bound=Body)


@dataclass(frozen=True)
class Expected:
    """One sentence for a field that may hold several kinds of values; pydantic has one for each kind."""

    words: str

    def __call__(self, value: Any, check: ValidatorFunctionWrapHandler) -> Any:
        try:
            return check(value)
        except ValidationError as error:
            told = {"words": self.words, "got": described(value)}
            raise PydanticCustomError(EXPECTED, "expected {words}, got {got}", told) from error


TokenId = Annotated[int, Field(ge=0, le=LARGEST)]
Count = Annotated[int, Field(ge=1, le=LARGEST)]
Pair = Annotated[list[str], Field(min_length=2, max_length=2)]
#: One text, or several.
Texts = Annotated[str | list[str], WrapValidator(Expected("a text, or a list of texts"))]
#: One pair of texts, or several.
Pairs = Annotated[
    Pair | list[Pair], WrapValidator(Expected("a pair of texts such as [first, second], or a list of pairs"))
]
#: One text, or several; an item of several may be a pair.
TextsOrPairs = Annotated[
    str | list[str | Pair], WrapValidator(Expected("a text, or a list of texts and pairs such as [first, second]"))
]
#: One text, or several, each as words or as token ids.
TextsOrIds = Annotated[
    str | list[TokenId] | list[str | list[TokenId]],
    WrapValidator(Expected(f"a text, a list of texts, or token ids (0 to {LARGEST}) in place of a text")),
]


def texts_or_ids(given: str | list[Any]) -> list[str | list[int]]:
    """The items of :data:`TextsOrIds`: one text, or the ids of one, is a list of one."""
    return [given] if isinstance(given, str) or (given and isinstance(given[0], int)) else given


class BadBody(Exception):
    """A body that cannot be used.

    Attributes:
        status: 400 for what is not JSON, 422 for JSON of another form.
        message: what is wrong, in one line.
        field: the field that is wrong; None if it is the whole body.
    """

    def __init__(self, status: int, message: str, field: str | None = None) -> None:
        self.status, self.message, self.field = status, one_line(message), field
        super().__init__(self.message)


def read_body(schema: type[B], raw: bytes) -> B:
    """Parse and check a body.

    Raises:
        BadBody: it is not JSON in UTF-8, or not what the schema says.
    """
    try:
        return schema.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
    if first["type"] == "json_invalid":
        why = first["ctx"]["error"] if raw.strip() else "it is empty"
        raise BadBody(400, f"the body is not JSON in UTF-8: {why}")
    if not first["loc"]:
        raise BadBody(422, f"the body is {described(first['input'])}, expected an object")
    raise BadBody(422, _sentence(schema, first), str(first["loc"][0]))


def _sentence(schema: type[Body], error: ErrorDetails) -> str:
    """What is wrong with a field."""
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"]).lstrip(".")
    if error["type"] == "missing":
        return f"{place} is missing"
    if error["type"] == "extra_forbidden":
        return f"{place[:SHOWN]} is not a field, expected {', '.join(schema.model_fields)}"
    words = {"got": described(error["input"]), **error.get("ctx", {})}
    told = KINDS.get(error["type"])
    return f"{place}: {told.format_map(words) if told else error['msg']}"


def described(value: Any) -> str:
    """A value in a few words, without the words of a text."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        return f"the number {value}" if abs(value) <= LARGEST**2 else "a huge number"
    if isinstance(value, str):
        return "a text"
    if not isinstance(value, list):
        return "an object"
    return _described_list(value)


def _described_list(values: list[Any]) -> str:
    """The first item that differs from the first one in kind, or what all items are."""
    if not values:
        return "an empty list"
    for index, value in enumerate(values):
        if type(value) is not type(values[0]):
            return f"a list with {described(value)} at index {index} after {described(values[0])}"
    return f"a list of {len(values)}, the first of which is {described(values[0])}"
