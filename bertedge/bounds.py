"""Numbers of records with the range that they have, checked when a record is read from a file."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

#: Where a 64-bit integer ends.
LARGEST_WHOLE = 2**63 - 1
#: No whole number in a file of ours has so many digits, not even a seed.
MOST_WHOLE = 10**100


@dataclass(frozen=True, kw_only=True)
class Within:
    """The range of a number: ``Annotated[float, Within(low=0)]``.

    Attributes:
        nan: whether NaN is allowed, which JSON has as null.
    """

    low: float = -math.inf
    high: float = math.inf
    nan: bool = False

    def allows(self, value: float) -> bool:
        """Whether the number is in range."""
        return self.nan if value != value else self.low <= value <= self.high  # (NaN is not itself)

    def __str__(self) -> str:
        if math.isinf(self.high):
            return "a number" if math.isinf(self.low) else f"a number of at least {self.low:g}"
        return f"a number from {self.low:g} to {self.high:g}"


#: 0 to 1.
Share = Annotated[float, Within(low=0, high=1)]
#: A share that may be unknown.
MaybeShare = Annotated[float, Within(low=0, high=1, nan=True)]
#: A cosine in float64, where rounding may lead a little past 1.
Cosine = Annotated[float, Within(low=-1 - 1e-9, high=1 + 1e-9)]
#: A whole number of things.
Count = Annotated[int, Within(low=0, high=LARGEST_WHOLE)]
#: More than any file has.
Bytes = Annotated[int, Within(low=0, high=2**50)]
#: Things in a second.
Rate = Annotated[float, Within(low=0, high=1e12)]
#: Up to twelve days.
Milliseconds = Annotated[float, Within(low=0, high=1e9)]
Seconds = Annotated[float, Within(low=0, high=1e9)]
Megahertz = Annotated[float, Within(low=0, high=1e7)]
#: One number over another that is of the same kind.
Ratio = Annotated[float, Within(low=0, high=1e9, nan=True)]
