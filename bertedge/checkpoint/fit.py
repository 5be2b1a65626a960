"""Check that a file's tensors fit ``config.json``; error messages say what the tensors are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from bertedge.checkpoint.tensor_files import EXPECTED_TYPES, FLOAT_HINT, FLOAT_TYPES
from bertedge.encoders import ENCODERS, Encoder, EncoderConfig, encoder_of, names, supported
from bertedge.encoders.foreign_names import IGNORED
from bertedge.encoders.others import OTHER_FAMILIES
from bertedge.errors import CheckpointError
from bertedge.heads.parts import Parts
from bertedge.printable import and_more, shown

#: Names of tensors that only these forms of a checkpoint have -> the form, and what to do. The first match counts.
FORMS: tuple[tuple[str, str, str], ...] = (
    (
        r"\.lora_[AB]\b|\.base_layer\.",
        "LoRA adapters that were not merged",
        "merge them with merge_and_unload(), then save",
    ),
    (r"\.qweight$|\.qzeros$|\.SCB$|\.absmax$|\._packed_params", "quantized layers", FLOAT_HINT),
)


def require_fit(
    name: str,
    config: EncoderConfig,
    parts: Parts,
    shapes: Mapping[str, tuple[int, ...]],
    kinds: Mapping[str, str],
) -> None:
    """Compare a model's tensors with what its configuration and parts need.

    Raises:
        CheckpointError: they are of another family, attention heads were pruned, or tensors are missing, have a wrong
            shape or a type that is not a float type.
    """
    title, expected = encoder_of(config).title, parts.shapes(config)
    missing = [tensor for tensor in expected if tensor not in shapes and tensor != names.DECODER_BIAS]
    misshapen = [tensor for tensor, shape in expected.items() if tuple(shapes.get(tensor, shape)) != shape]
    unloadable = [tensor for tensor in expected if kinds.get(tensor, "float32") not in FLOAT_TYPES]
    added = _added(config, expected, shapes)
    if missing or added:
        _refuse_other_form(name, shapes)
    if added or names.WORD_EMBEDDINGS in misshapen or len(missing) > len(expected) / 4:
        refuse_other_family(name, shapes, encoder_of(config))
    if added:
        raise CheckpointError(
            f"{name}: the encoder has tensors that a {title} does not have: {shown(added)}",
            f"without them the model would answer differently; take a plain {title}",
        )
    if unloadable:
        first = unloadable[0]
        raise CheckpointError(
            f"{name}: {first} has type {kinds[first]}, {EXPECTED_TYPES}{and_more(len(unloadable) - 1)}", FLOAT_HINT
        )
    _refuse_pruned(name, misshapen, shapes, expected)
    wrong = [
        *(f"{tensor} is {list(shapes[tensor])}, expected {list(expected[tensor])}" for tensor in misshapen),
        *(f"{tensor} is missing" for tensor in missing),
    ]
    if wrong:
        count = "1 tensor does" if len(wrong) == 1 else f"{len(wrong)} tensors do"
        raise CheckpointError(
            f"{name}: {count} not fit config.json: {shown(wrong, '; ')}",
            "config.json and the weights must come from the same model",
        )


def _added(config: EncoderConfig, expected: Iterable[str], tensors: Iterable[str]) -> list[str]:
    """Tensors inside the encoder that the family does not have.

    Layers beyond ``num_hidden_layers`` do not count: users shorten models by a smaller number in ``config.json``, and
    ``transformers`` ignores the other layers.
    """
    is_inside = encoder_of(config).names.is_inside
    known = {*expected, *names.pooler_shapes(config)}
    found = [tensor for tensor in tensors if is_inside(tensor) and tensor not in known]
    layers = {tensor: int(match[1]) for tensor in found if (match := names.IN_LAYER.match(tensor))}
    return [tensor for tensor in found if layers.get(tensor, 0) < config.stored_blocks and not IGNORED.search(tensor)]


def _refuse_other_form(name: str, tensors: Iterable[str]) -> None:
    for pattern, form, hint in FORMS:
        found = _matching(pattern, tensors)
        if found:
            raise CheckpointError(f"{name}: the file holds {form}: {shown(found, most=3)}", hint)


def refuse_other_family(name: str, tensors: Iterable[str], expected: Encoder | None) -> None:
    """Name the family that the tensors are of, if it is not the expected one.

    Args:
        expected: the family of ``config.json``; None if that is not supported.

    Raises:
        CheckpointError: it is another family.
    """
    known = {row.title for row in ENCODERS.values() if expected is None or row.names.prefix == expected.names.prefix}
    contrast = f"not of {expected.title}" if expected else "which is not supported"
    for pattern, family in OTHER_FAMILIES:
        found = _matching(pattern, tensors)
        if found and family not in known:
            types = [row.model_type for row in ENCODERS.values() if row.title == family]
            hint = f"if the weights are the right ones, set model_type to {types[0]!r}" if types else supported()
            raise CheckpointError(
                f"{name}: the tensors are those of {family}, {contrast}: {shown(found, most=3)}", hint
            )
    found = sorted(tensors)
    if found and expected and not any(map(expected.names.is_inside, found)):
        raise CheckpointError(
            f"{name}: none of the {len(found)} tensors is one of {expected.title}: {shown(found, most=3)}", supported()
        )


def _matching(pattern: str, tensors: Iterable[str]) -> list[str]:
    return [tensor for tensor in tensors if re.search(pattern, tensor)]


def _refuse_pruned(
    name: str, misshapen: list[str], shapes: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]
) -> None:
    """Refuse pruned attention heads: a query with fewer rows than the hidden size shows them."""
    queries = [
        tensor
        for tensor in misshapen
        if tensor.endswith(".attention.self.query.weight")
        and len(shapes[tensor]) == 2
        and shapes[tensor][1] == expected[tensor][1]
        and shapes[tensor][0] < expected[tensor][0]
    ]
    if queries:
        layers = [tensor.split(".")[2] for tensor in queries]
        first = queries[0]
        raise CheckpointError(
            f"{name}: attention heads were pruned in layer {shown(layers, most=12)} "
            f"({first} is {list(shapes[first])}, expected {list(expected[first])})",
            "pruned heads are not supported; use the checkpoint from before pruning",
        )
