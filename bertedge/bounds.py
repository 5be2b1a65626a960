"""Ranges of the numbers in records. They are checked when a record is read from a file."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

#: The largest 64-bit integer.
LARGEST_WHOLE = 2**63 - 1
#: All integers in bertedge's files are smaller than this, even seeds.
MOST_WHOLE = 10**100


@dataclass(frozen=True, kw_only=True)
class Within:
    """The allowed range of a number: ``Annotated[float, Within(low=0)]``.

    Attributes:
        nan: whether NaN is allowed. JSON has it as null.
    """

    low: float = -math.inf
    high: float = math.inf
    nan: bool = False

    def allows(self, value: float) -> bool:
        """Whether a number is allowed."""
        return self.nan if value != value else self.low <= value <= self.high  # NaN does not equal itself

    def __str__(self) -> str:
        if math.isinf(self.high):
            return "a number" if math.isinf(self.low) else f"a number of at least {self.low:g}"
        return f"a number from {self.low:g} to {self.high:g}"


#: 0 to 1.
Share = Annotated[float, Within(low=0, high=1)]
#: A share that may be unknown.
MaybeShare = Annotated[float, Within(low=0, high=1, nan=True)]
#: A cosine in float64. Rounding may make it slightly larger than 1.
Cosine = Annotated[float, Within(low=-1 - 1e-9, high=1 + 1e-9)]
#: A number of things.
Count = Annotated[int, Within(low=0, high=LARGEST_WHOLE)]
#: A size in bytes; the limit is larger than any file.
Bytes = Annotated[int, Within(low=0, high=2**50)]
#: Things per second.
Rate = Annotated[float, Within(low=0, high=1e12)]
#: Up to twelve days.
Milliseconds = Annotated[float, Within(low=0, high=1e9)]
Seconds = Annotated[float, Within(low=0, high=1e9)]
Megahertz = Annotated[float, Within(low=0, high=1e7)]
#: One number divided by another of the same kind.
Ratio = Annotated[float, Within(low=0, high=1e9, nan=True)]
