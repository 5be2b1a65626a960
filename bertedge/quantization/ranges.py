"""``ranges.json``: the ranges that calibration observed, stored in the bundle so that another recipe can use them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bertedge.bundle import RANGES
from bertedge.errors import FileError, UsageError
from bertedge.files import write_text
from bertedge.quantization.observers import Channels, Clip
from bertedge.recipe import PERCENTILE, Static
from bertedge.records import from_json, read_json, to_json

SCHEMA_VERSION = 5
#: A thousandth of a range is a quarter of a step of uint8; more digits would only make the file larger.
DIGITS = 4
CALIBRATE_AGAIN = "leave --ranges out to calibrate again"


@dataclass(frozen=True, kw_only=True)
class ChannelRange:
    """Smallest value, largest value and mean of each channel of a layer's input."""

    low: tuple[float, ...]
    high: tuple[float, ...]
    mean: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Ranges:
    """Observed ranges, and the settings of the calibration.

    Attributes:
        model_sha256: hash of the float model.
        calibration_sha256: hash of the text.
        held_out: the share of the text that was held out.
        examples, max_length: number of texts of the remaining part, and largest number of tokens in a text.
        observer, percentile: how the clips were chosen; see :class:`bertedge.recipe.Static`.
        layers: layer name -> range.
        clips: layer name -> the chosen range of its balanced input without outliers, if the observer clips.
    """

    schema_version: int
    source: str
    model_sha256: str
    calibration_sha256: str
    held_out: float
    examples: int
    max_length: int
    observer: str
    percentile: float
    layers: dict[str, ChannelRange]
    clips: dict[str, Clip]

    def seen(self, *layers: str) -> Channels:
        """The observed channels of a layer, or of several layers together."""
        stored = [self.layers[layer] for layer in layers]
        low, high, mean = (
            np.array([getattr(each, name) for each in stored], dtype=np.float32) for name in ("low", "high", "mean")
        )
        return Channels(low=low.min(axis=0), high=high.max(axis=0), mean=mean.mean(axis=0), rows=self.examples)

    def require(
        self,
        *,
        source: str,
        model_sha256: str,
        held_out: float,
        method: Static,
        channels: dict[str, int],
    ) -> None:
        """Refuse ranges that do not belong to a model.

        Args:
            held_out: share of the text that losses will be measured on.
            channels: layer name -> channels of its input.

        Raises:
            UsageError: they were made for another model, with other settings, or from text that must be held out.
            FileError: layers or channels are missing.
        """
        if self.model_sha256 != model_sha256:
            raise UsageError(f"--ranges: made for another model, {self.source}, not for this {source}", CALIBRATE_AGAIN)
        if (self.observer, self.percentile) != (method.observer, method.percentile):
            made, asked = _observer(self.observer, self.percentile), _observer(method.observer, method.percentile)
            raise UsageError(f"--ranges: made with {made}, not {asked}", f"add {made}, or {CALIBRATE_AGAIN}")
        if self.examples != method.examples:
            raise UsageError(
                f"--ranges: made from {self.examples} texts, not {method.examples}",
                f"add --examples {self.examples}, or {CALIBRATE_AGAIN}",
            )
        if self.held_out < held_out:
            raise UsageError(
                "--ranges: made from all of the text, but goals are measured on text that calibration did not read",
                CALIBRATE_AGAIN,
            )
        for layer, extent in channels.items():
            stored = self.layers.get(layer)
            if stored is None or not len(stored.low) == len(stored.high) == len(stored.mean) == extent:
                raise FileError(f"--ranges: no {extent} channels for {layer}", CALIBRATE_AGAIN)
            if not np.isfinite([stored.low, stored.high, stored.mean]).all():
                raise FileError(f"--ranges: NaN or infinity in {layer}", CALIBRATE_AGAIN)


def channel_range(seen: Channels) -> ChannelRange:
    """Round to the digits that are stored; low values down and high values up."""
    return ChannelRange(
        low=_rounded(seen.low, np.floor), high=_rounded(seen.high, np.ceil), mean=_rounded(seen.mean, np.rint)
    )


def write_ranges(path: Path, ranges: Ranges) -> None:
    """Write compact JSON, a line for each layer."""
    raw = to_json(ranges)
    named = raw.pop("layers")
    lines = (f"{json.dumps(name)}:{json.dumps(named[name], separators=(',', ':'))}" for name in named)
    head = json.dumps(raw, ensure_ascii=True)[:-1]
    write_text(path, f'{head}, "layers": {{\n' + ",\n".join(lines) + "\n}}\n")


def read_ranges(path: Path) -> Ranges:
    """Read the file, or the file of a bundle.

    Raises:
        FileError: it is missing, broken, or of another schema.
    """
    if path.is_dir():
        path = path / RANGES
    raw = read_json(path)
    version = raw.get("schema_version") if isinstance(raw, dict) else None
    if version != SCHEMA_VERSION:
        raise FileError(f"{path}: schema_version is {version}, this bertedge reads {SCHEMA_VERSION}", CALIBRATE_AGAIN)
    return from_json(Ranges, raw, path.name)


def _observer(name: str, percentile: float) -> str:
    """The observer as command-line options."""
    return f"--set observer={name}" + (f" --set percentile={percentile:g}" if name == PERCENTILE else "")


def _rounded(values: NDArray[np.float32], towards: np.ufunc) -> tuple[float, ...]:
    wide = values.astype(np.float64)
    exponent = np.floor(np.log10(np.maximum(np.abs(wide), 1e-30))) - (DIGITS - 1)
    steps = 10.0**exponent
    return tuple(float(f"{value:.{DIGITS}g}") for value in towards(wide / steps) * steps)
