"""Read a sentence-transformers folder: the place of its transformer, and how it makes a vector of the hidden states.

``modules.json`` lists modules that run one after another: a transformer, a pooling, and others such as Dense or
Normalize. A module that is not known is refused by its name. The format is that of sentence-transformers 2 to 6.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bertedge.checkpoint.embedder_modules import (
    FRESH_COPY,
    MODULES,
    NORMALIZE,
    VECTOR_MODULES,
    Module,
    module_of,
    read_vector_module,
    settings_of,
)
from bertedge.encoders import EncoderConfig
from bertedge.errors import CheckpointError, FileError, nearest
from bertedge.pooling import POOLING_MODES, SIMILARITIES, EmbeddingSettings
from bertedge.records import read_json
from bertedge.vector_modules import VectorModule

ABOUT = "config_sentence_transformers.json"
#: The settings of the transformer module; the name depends on the family and on the age of the folder.
TRANSFORMER_SETTINGS = tuple(
    f"sentence_{family}_config.json"
    for family in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
#: Names of the transformer module's class, the current one and that of the first releases.
TRANSFORMERS = ("Transformer", "BERT")
#: Modules that change nothing unless a model is trained.
WITHOUT_EFFECT = ("Dropout",)
#: Settings of the pooling before version 5.4: a switch for each mode, in the order of the concatenation.
SWITCHES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
POOLING_KEYS = {*SWITCHES, "pooling_mode", "word_embedding_dimension", "embedding_dimension", "include_prompt"}


@dataclass(frozen=True, kw_only=True)
class EmbedderFolder:
    """A sentence-transformers folder.

    Attributes:
        modules: in the order in which they run, the transformer first.
    """

    folder: Path
    modules: tuple[Module, ...]

    @classmethod
    def find(cls, folder: Path) -> EmbedderFolder | None:
        """Read ``modules.json``; None for a folder without one.

        Raises:
            FileError: it is not a list of modules, or a path leaves the folder.
            CheckpointError: its first module is not a transformer.
        """
        path = folder / MODULES
        if not os.path.isfile(path):
            return None
        raw = read_json(path)
        modules = tuple(module_of(folder, entry) for entry in raw) if isinstance(raw, list) else ()
        if not modules:
            raise FileError(f"{path}: is not a list of modules", FRESH_COPY)
        if modules[0].kind not in TRANSFORMERS:
            raise CheckpointError(
                f"{path}: the first module is {modules[0].kind}, expected Transformer",
                f"bertedge runs a transformer as the first module; for that alone, take a copy without {MODULES}",
            )
        if not os.path.isdir(modules[0].folder):  # unlike Path.is_dir, False for a name that the system refuses
            raise FileError(f"{path}: the transformer's folder {modules[0].path[:60]!r} is missing", FRESH_COPY)
        return cls(folder=folder, modules=modules)

    @property
    def transformer(self) -> Path:
        """The folder of the transformer: its config, weights and tokenizer."""
        return self.modules[0].folder

    @property
    def lowercase(self) -> bool:
        """Whether texts are made lower case before they are tokenized."""
        return bool(self._transformer_settings().get("do_lower_case"))

    @property
    def is_cross_encoder(self) -> bool:
        """Whether the folder holds a cross-encoder, which scores pairs of texts and makes no vectors."""
        return settings_of(self.folder / ABOUT).get("model_type") == "CrossEncoder"

    def cross_encoder(self, config: EncoderConfig) -> dict[str, Any]:
        """What the folder says about a cross-encoder; see :func:`bertedge.heads.ranking.rank_settings.rank_settings`.

        Raises:
            CheckpointError: it has further modules, or puts a prompt in front of texts.
        """
        about = settings_of(self.folder / ABOUT)
        if len(self.modules) > 1:
            raise CheckpointError(
                f"{self.folder}: bertedge does not compute {self.modules[1].name} of a cross-encoder",
                "it computes cross-encoders that are one Transformer with a classifier",
            )
        if about.get("default_prompt_name") and (about.get("prompts") or {}).get(about["default_prompt_name"]):
            raise CheckpointError(
                f"{self.folder}: the cross-encoder puts a prompt in front of texts, which bertedge does not",
                f"take a copy without default_prompt_name in {ABOUT}, and give the texts with their prompt",
            )
        return {**about, "max_seq_length": self._length(config.max_length)}

    def settings(self, config: EncoderConfig) -> EmbeddingSettings:
        """The settings of the modules after the transformer.

        Raises:
            FileError: a settings file is missing or broken.
            CheckpointError: the pooling is unknown, or is for another hidden size.
        """
        try:
            settings = self._about(EmbeddingSettings(pooling=(), max_seq_length=self._length(config.max_length)))
            for module in self.modules[1:]:
                settings = _add(settings, module, config.hidden_size)
        except CheckpointError as error:
            raise CheckpointError(f"{self.folder}: {error.message}", error.hint) from error
        return settings

    def _about(self, settings: EmbeddingSettings) -> EmbeddingSettings:
        """The settings with the prompts, the similarity and the truncation."""
        about = settings_of(self.folder / ABOUT)
        prompts, default = about.get("prompts") or {}, about.get("default_prompt_name")
        if not isinstance(prompts, dict) or not all(isinstance(text, str | None) for text in prompts.values()):
            raise FileError(f"{self.folder / ABOUT}: prompts is not a map of names to texts", FRESH_COPY)
        if not isinstance(default, str | None):
            raise FileError(f"{self.folder / ABOUT}: default_prompt_name is not a name", FRESH_COPY)
        similarity, size = about.get("similarity_fn_name") or "cosine", about.get("truncate_dim")
        if similarity not in SIMILARITIES:
            raise CheckpointError(
                f"{ABOUT}: similarity_fn_name {similarity!r} is not known", nearest(str(similarity), SIMILARITIES)
            )
        if size is not None and (type(size) is not int or size < 1):
            raise CheckpointError(
                f"{ABOUT}: truncate_dim is {size!r}, expected a whole number of at least 1", FRESH_COPY
            )
        return replace(
            settings,
            prompts={name: text or "" for name, text in prompts.items()},
            default_prompt_name=default,
            similarity=similarity,
            truncate_dim=size,
        )

    def _length(self, positions: int) -> int:
        """The most tokens of a text.

        The transformer module's own setting counts first, then the tokenizer's. Texts are truncated to the position
        embeddings in any case; the library fails on longer ones.
        """
        settings = self._transformer_settings()
        tokenizer_settings = settings.get("processor_kwargs") or settings.get("tokenizer_args") or {}
        found = (
            (tokenizer_settings, "model_max_length"),
            (settings, "max_seq_length"),
            (settings_of(self.transformer / "tokenizer_config.json"), "model_max_length"),
        )
        for source, key in found:
            length = source.get(key) if isinstance(source, dict) else None
            if length is None:
                continue
            if not isinstance(length, int | float) or isinstance(length, bool) or not length > 0:
                raise CheckpointError(
                    f"{key} is {length!r}, expected a positive number", "correct the model's settings"
                )
            return int(min(length, positions))
        return positions

    def _transformer_settings(self) -> dict[str, Any]:
        for name in TRANSFORMER_SETTINGS:
            if settings := settings_of(self.transformer / name):
                return settings
        return {}


def _add(settings: EmbeddingSettings, module: Module, hidden_size: int) -> EmbeddingSettings:
    """The settings after one more module."""
    if module.kind == "Pooling" and not settings.pooling:
        pooling, include_prompt = _pooling(module, hidden_size)
        return replace(settings, pooling=pooling, include_prompt=include_prompt)
    if module.kind in WITHOUT_EFFECT:
        return settings
    if module.kind == NORMALIZE and not settings.pooling:
        return settings  # before the pooling there is no vector to scale
    width = settings.modules[-1].outputs if settings.modules else settings.pooled_width(hidden_size)
    if module.kind not in VECTOR_MODULES or not settings.pooling:
        raise CheckpointError(
            f"{MODULES}: bertedge does not compute {module.name}"
            f"{'' if settings.pooling or module.kind not in VECTOR_MODULES else ' before a pooling'}",
            f"it computes Transformer, Pooling, {', '.join((*VECTOR_MODULES, *WITHOUT_EFFECT))}; for vectors without "
            f"that module, take a copy of the folder and remove it from {MODULES}",
        )
    if settings.normalize:  # another module follows, so the scaling is in the middle
        scaling = VectorModule(kind="normalize", inputs=width, outputs=width)
        settings = replace(settings, normalize=False, modules=(*settings.modules, scaling))
    if module.kind == NORMALIZE:
        read_vector_module(module, width)
        return replace(settings, normalize=True)
    return replace(settings, modules=(*settings.modules, read_vector_module(module, width)))


def _pooling(module: Module, hidden_size: int) -> tuple[tuple[str, ...], bool]:
    """The modes of a pooling module, and whether prompts are pooled."""
    path = module.folder / "config.json"
    if not os.path.isfile(path):
        raise FileError(f"{path}: is missing, so the pooling of the model is unknown", FRESH_COPY)
    raw = module.settings()
    where = f"{module.path}/config.json"
    unknown = sorted(raw.keys() - POOLING_KEYS)
    if unknown:
        raise CheckpointError(f"{where}: unknown setting {', '.join(unknown)}", nearest(unknown[0], POOLING_KEYS))
    width = raw.get("embedding_dimension", raw.get("word_embedding_dimension"))
    if width != hidden_size:
        raise CheckpointError(
            f"{where}: pools states of {width!r} numbers, those of the model have {hidden_size}",
            "the pooling and the transformer must come from the same model",
        )
    modes = raw.get("pooling_mode")
    if modes is None:
        modes = [mode for switch, mode in SWITCHES.items() if raw.get(switch)] or ["mean"]
    modes = [modes] if isinstance(modes, str) else modes
    if not isinstance(modes, list) or not modes or not all(isinstance(mode, str) for mode in modes):
        raise CheckpointError(f"{where}: pooling_mode is {modes!r}", f"one or more of: {', '.join(POOLING_MODES)}")
    for mode in modes:
        if mode not in POOLING_MODES:
            raise CheckpointError(f"{where}: pooling mode {mode!r} is not known", nearest(mode, POOLING_MODES))
    return tuple(modes), bool(raw.get("include_prompt", True))
