"""Whether a file's tensors make the BERT that ``config.json`` describes, and in words what they are if not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from bertedge.checkpoint import names
from bertedge.checkpoint.tensor_files import EXPECTED_TYPES, FLOAT_HINT, FLOAT_TYPES
from bertedge.config import BertConfig
from bertedge.errors import CheckpointError
from bertedge.printable import and_more, shown

ONLY = "bertedge runs BERT only"
#: Names of tensors that only these forms of a BERT have -> the form, and the way out. The first row with a hit counts.
FORMS: tuple[tuple[str, str, str], ...] = (
    (
        r"\.lora_[AB]\b|\.base_layer\.",
        "LoRA adapters that were not merged",
        "merge them with merge_and_unload(), then save",
    ),
    (r"\.qweight$|\.qzeros$|\.SCB$|\.absmax$|\._packed_params", "quantized layers", FLOAT_HINT),
)
#: Names of tensors that only another family has -> that family. The first row with a hit counts.
FAMILIES: tuple[tuple[str, str], ...] = (
    (r"^mpnet\.|\.attention\.attn\.[qkvo]\.", "MPNet"),
    (r"^convbert\.|\.key_conv_attn_layer\.", "ConvBERT"),
    (r"^mobilebert\.|\.bottleneck\.", "MobileBERT"),
    (r"^(nystromformer|roformer)\.|\.self\.conv\.weight$", "Nystromformer or RoFormer"),
    (r"\.attention\.ln\.|^bert\.encoder\.ln\.", "MegatronBERT"),
    (r"^roberta\.|^xlm_roberta\.|^lm_head\.layer_norm\.", "RoBERTa"),
    (r"^attentions\.\d+\.q_lin\.|^transformer\.attentions\.", "XLM"),
    (r"^distilbert\.|\.q_lin\.", "DistilBERT"),
    (r"^albert\.|\.albert_layer_groups\.|\.embedding_hidden_mapping_in\.", "ALBERT"),
    (r"^bert\.pooler\.(weight|bias)$", "BigBird"),
    (r"^electra\.|^embeddings_project\.|^(generator|discriminator)_predictions\.", "ELECTRA"),
    (r"^deberta\.|\.attention\.self\.(in_proj|query_proj)\.|\.rel_embeddings\.", "DeBERTa"),
    (r"^nomic_bert\.|^encoder\.layers\.\d+\.attn\.Wqkv", "NomicBERT"),
    (r"\.tok_embeddings\.|\blayers\.\d+\.attn\.Wqkv", "ModernBERT"),
    (r"^(camembert|flaubert|ernie|funnel|longformer|layoutlm)\.", "another BERT-like family"),
    (r"\.SelfAttention\.|\.DenseReluDense\.", "T5"),
    (r"\bh\.\d+\.attn\.c_attn\.", "GPT-2"),
    (r"\bdecoder\.layers\.\d+\.encoder_attn\.", "BART"),
    (r"\bembed_tokens\.", "a decoder such as Llama or Qwen"),
    (r"\bvision_model\.|\bpatch_embed|\btext_model\.|\btoken_embedding\.", "a vision model such as ViT or CLIP"),
)
#: Tensors here change what the encoder computes; a BERT has only those of ``names.expected_shapes``.
INSIDE = re.compile(r"^bert\.(embeddings|encoder|pooler)\.")


def require_fit(
    name: str,
    config: BertConfig,
    heads: Iterable[str],
    shapes: Mapping[str, tuple[int, ...]],
    kinds: Mapping[str, str],
) -> None:
    """Compare a model's tensors with what its configuration and heads need.

    Raises:
        CheckpointError: it is another family's, its heads were pruned, or tensors are missing, misshapen or of a type
            that holds no weights.
    """
    expected = names.expected_shapes(config, heads)
    missing = [tensor for tensor in expected if tensor not in shapes and tensor != names.DECODER_BIAS]
    misshapen = [tensor for tensor, shape in expected.items() if tuple(shapes.get(tensor, shape)) != shape]
    unloadable = [tensor for tensor in expected if kinds.get(tensor, "float32") not in FLOAT_TYPES]
    added = _added(config, expected, shapes)
    if missing or added:
        _refuse_other_form(name, shapes)
    if added or names.WORD_EMBEDDINGS in misshapen or len(missing) > len(expected) / 4:
        refuse_other_family(name, shapes)
    if added:
        raise CheckpointError(
            f"{name}: the encoder has tensors that a BERT does not have: {shown(added)}",
            "without them the model would answer differently; take a plain BERT",
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


def _added(config: BertConfig, expected: Iterable[str], tensors: Iterable[str]) -> list[str]:
    """Tensors inside the encoder that a BERT does not have. Whole layers beyond ``num_hidden_layers`` do not count.

    People shorten models by a smaller number in ``config.json``, and ``transformers`` ignores the other layers.
    """
    known = {*expected, *names.expected_shapes(config, ("pooler",))}
    found = [tensor for tensor in tensors if INSIDE.match(tensor) and tensor not in known]
    behind = re.compile(r"^bert\.encoder\.layer\.(\d+)\.")
    layers = {tensor: int(match[1]) for tensor in found if (match := behind.match(tensor))}
    return [
        tensor
        for tensor in found
        if layers.get(tensor, 0) < config.num_hidden_layers and not names.IGNORED.search(tensor)
    ]


def _refuse_other_form(name: str, tensors: Iterable[str]) -> None:
    for pattern, form, hint in FORMS:
        found = _matching(pattern, tensors)
        if found:
            raise CheckpointError(f"{name}: the file holds {form}: {shown(found, most=3)}", hint)


def refuse_other_family(name: str, tensors: Iterable[str]) -> None:
    """Name the family that the tensors are of, if it is another than BERT.

    Raises:
        CheckpointError: it is.
    """
    for pattern, family in FAMILIES:
        found = _matching(pattern, tensors)
        if found:
            raise CheckpointError(
                f"{name}: the tensors are those of {family}, not of BERT: {shown(found, most=3)}", ONLY
            )
    found = sorted(tensors)
    if found and not _matching(r"^bert\.", found):
        raise CheckpointError(f"{name}: none of the {len(found)} tensors is one of BERT: {shown(found, most=3)}", ONLY)


def _matching(pattern: str, tensors: Iterable[str]) -> list[str]:
    return [tensor for tensor in tensors if re.search(pattern, tensor)]


def _refuse_pruned(
    name: str, misshapen: list[str], shapes: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]
) -> None:
    """Layers whose query has fewer rows than the hidden size lost attention heads."""
    queries = [
        tensor
        for tensor in misshapen
        if tensor.endswith(".attention.self.query.weight")
        and len(shapes[tensor]) == 2
        and shapes[tensor][1] == expected[tensor][1]
        and shapes[tensor][0] < expected[tensor][0]
    ]
    if queries:
        layers = [tensor.split(".")[3] for tensor in queries]
        first = queries[0]
        raise CheckpointError(
            f"{name}: attention heads were pruned in layer {shown(layers, most=12)} "
            f"({first} is {list(shapes[first])}, expected {list(expected[first])})",
            "pruned heads are not supported; take the checkpoint as it was before",
        )
