"""From the tensor names in a file to canonical ones."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: Prefixes and infixes that tools add to a model's own names: (pattern, replacement), applied in order.
WRAPPERS: tuple[tuple[str, str], ...] = (
    # torch.compile, FSDP and activation checkpointing, around any module
    (r"(?<![^.])(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.", ""),
    # DataParallel, Lightning and other trainers, PEFT, sentence-transformers; in any combination
    (r"^((module|model|base_model|(\d+\.)?auto_model)\.)+", ""),
)
#: Tensors that do not affect the results: buffers and the state of optimizers.
IGNORED = re.compile(
    r"(position|token_type)_ids$|inv_freq$|^global_step$|/adam_[mv]$|^beta[12]_power$|num_batches_tracked$|^n_averaged$"
)
#: Beginnings of the canonical names of an encoder's tensors.
ENCODER_PARTS = re.compile(r"^(embeddings|encoder\.(layer|LayerNorm|relative_attention_bias)|pooler)\.")


@dataclass(frozen=True, kw_only=True)
class ForeignNames:
    """How a family's files name its tensors. By default, only the prefixes of tools are removed.

    Attributes:
        prefix: what the family puts before the names of its encoder's tensors, such as ``bert.``.
        patterns: (pattern, replacement), applied in order.
        preferred: if two tensors have one canonical name, the name of the one that ``transformers`` uses.
        fused: (pattern, names) of tensors that hold several tensors of equal size, one after the other.
        tensorflow: (pattern, replacement, whether the matrix is stored transposed) for TensorFlow's variables.
    """

    prefix: str = ""
    patterns: tuple[tuple[str, str], ...] = ()
    preferred: re.Pattern[str] | None = None
    fused: tuple[tuple[str, tuple[str, ...]], ...] = ()
    tensorflow: tuple[tuple[str, str, bool], ...] = ()

    def canonical(self, foreign: str) -> str:
        """The canonical name of a PyTorch tensor; a name of no known tensor stays as it is."""
        name = foreign
        for pattern, replacement in WRAPPERS:
            name = re.sub(pattern, replacement, name)
        bare = name.removeprefix(self.prefix)
        name = bare if ENCODER_PARTS.match(bare) else name
        for pattern, replacement in self.patterns:
            name = re.sub(pattern, replacement, name)
        return name

    def parts(self, foreign: str) -> tuple[str, ...]:
        """The canonical names of the parts of a PyTorch tensor: usually one; of a fused tensor several, in order."""
        name = self.canonical(foreign)
        for pattern, parts in self.fused:
            if re.search(pattern, name):
                return tuple(re.sub(pattern, part, name) for part in parts)
        return (name,)

    def canonical_tensorflow(self, foreign: str) -> tuple[str, bool]:
        """The canonical name of a TensorFlow variable, and whether its matrix is to be transposed."""
        for pattern, replacement, transposed in self.tensorflow:
            name, hits = re.subn(pattern, replacement, foreign)
            if hits:
                name = re.sub(r"layer_(\d+)", r"layer.\1", name).replace("/", ".")
                return self.canonical(name), transposed
        return foreign, False

    def is_preferred(self, foreign: str) -> bool:
        """Whether to use this tensor, if another one has the same canonical name."""
        return self.preferred is not None and bool(self.preferred.search(foreign))

    def is_inside(self, name: str) -> bool:
        """Whether a tensor under this name would change what the encoder computes."""
        return bool(ENCODER_PARTS.match(name)) or (bool(self.prefix) and name.startswith(f"{self.prefix}encoder."))

    def written(self, canonical: str) -> str:
        """The name that the family's own files use for a tensor of the encoder; names of heads are kept."""
        return f"{self.prefix}{canonical}" if ENCODER_PARTS.match(canonical) else canonical
