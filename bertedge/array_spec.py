"""What an array of an archive must be; apart from :mod:`bertedge.arrays`, because the runtime rarely reads archives."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ArraySpec:
    """What an array of an archive must be.

    Attributes:
        dtype: numpy's name of the type, such as ``float32``.
        shape: numbers, or symbols. A symbol is the same number in every array of the archive.
        least: the smallest allowed integer, if ``below`` is given.
        below: integers must be smaller than this number or symbol. None: no limit.
        required: whether the archive must have the array.
    """

    dtype: str
    shape: tuple[str | int, ...]
    least: int = 0
    below: str | int | None = None
    required: bool = True
