"""Settings of a search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bertedge.keys import check_keys, key
from bertedge.recipe import QuantizationRecipe, require_examples
from bertedge.target import AUTO


@dataclass(frozen=True, kw_only=True)
class TuneSettings:
    """How to search.

    Attributes:
        calibration: text to calibrate with; None for the built-in text.
        corpus: text to measure losses on; None for a part of the calibration text, which is held out.
        columns: the columns of these files that hold texts; see :func:`bertedge.data.examples.read_examples`.
        target: the CPU that the bundles are for.
        recipes: name -> recipe to try; None for all methods, their settings and the built-in recipes.
        exclude: patterns of layers that stay float32 in every candidate.
        threads: the numbers of threads to try; empty for 1 and the default of :func:`bertedge.load`.
        everything: try all candidates, even after the goals are met.
    """

    calibration: str | Path | None = None
    corpus: str | Path | None = None
    columns: tuple[str, ...] = ()
    target: str = AUTO
    recipes: Mapping[str, QuantizationRecipe] | None = None
    exclude: tuple[str, ...] = ()
    threads: tuple[int, ...] = ()
    examples: int = key(256, "Sentence pairs, or single texts, to measure losses on.")
    seed: int = key(0, "Seed of pairs and masks.", at_least=0)
    batch_size: int = key(1, "Texts in a timed call.", at_least=1)
    length: int = key(128, "Tokens of a timed text.", at_least=3)
    budget_minutes: float | None = key(None, "Stop searching after this many minutes; default: no limit.", above=0)
    everything: bool = False

    def __post_init__(self) -> None:
        require_examples(self.examples)
        check_keys(self)
        _ = self.numbers  # raises for an invalid number

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers of threads to try."""
        from bertedge.engines.threads import checked_threads

        return tuple(sorted({checked_threads(number) for number in self.threads or (1, None)}))
