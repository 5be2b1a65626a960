"""Variants of a family that change its results and that no family of bertedge has: they are refused by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bertedge.errors import CheckpointError

MAX_SHOWN = 12


def refuse_variants(title: str) -> Callable[[Mapping[str, Any]], None]:
    """A check of ``config.json``: no pruned attention heads, no relative positions, no decoder.

    Args:
        title: the family, for messages.
    """

    def refuse(raw: Mapping[str, Any]) -> None:
        pruned = raw.get("pruned_heads")  # layer -> the attention heads that were cut out of it
        layers = [str(layer)[:20] for layer, heads in pruned.items() if heads] if isinstance(pruned, dict) else []
        if layers:
            raise CheckpointError(
                f"config: pruned_heads says that attention heads were pruned in layer {', '.join(layers[:MAX_SHOWN])}",
                "pruned heads are not supported; use the checkpoint from before pruning",
            )
        position = raw.get("position_embedding_type", "absolute")
        if position != "absolute":
            raise CheckpointError(
                f"config: position_embedding_type is {position!r}, expected 'absolute'",
                f"relative positions are not part of {title} as published",
            )
        if raw.get("is_decoder") or raw.get("add_cross_attention"):
            raise CheckpointError(f"config: this {title} is a decoder", "bertedge runs encoders only")

    return refuse


def refuse_scaled_positions(raw: Mapping[str, Any]) -> None:
    """Refuse rotary positions that are scaled for longer texts, in the keys of any version of ``transformers``."""
    ropes = raw.get("rope_parameters")
    nested = [rope for rope in ropes.values() if isinstance(rope, dict)] if isinstance(ropes, dict) else []
    for rope in [raw.get("rope_scaling"), ropes, *nested]:
        kind = rope.get("rope_type", rope.get("type", "default")) if isinstance(rope, dict) else "default"
        if kind != "default":
            raise CheckpointError(
                f"config: rope_type is {str(kind)[:40]!r}, expected 'default'", "scaled positions are not supported"
            )
