"""Folders with the tokenizers of other families: byte-level BPE, Unigram, WordLevel, and WordPiece with other names."""

from __future__ import annotations

import json
import random
from typing import Any

import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors

from tests.tokenizer_folders import (
    CONFIG,
    CONFIG_FILE,
    LETTERS,
    MAP_FILE,
    SPECIALS,
    TEXTS,
    WORDS,
    added,
    unigram,
    vocab,
)

FAIRSEQ = ["<s>", "<pad>", "</s>", "<unk>"]


def byte_level() -> tokenizers.Tokenizer:
    """A byte-level BPE as RoBERTa has it."""
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=[*FAIRSEQ, "<mask>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(TEXTS * 3, trainer)
    return backend


BPE = json.loads(byte_level().to_str())["model"]
MERGES = [merge if isinstance(merge, str) else " ".join(merge) for merge in BPE["merges"]]
VOCAB_JSON = json.dumps(BPE["vocab"], ensure_ascii=False).encode()
MERGES_TXT = ("#version: 0.2\n" + "\n".join(MERGES) + "\n").encode()


def roberta(**changes: Any) -> dict[str, Any]:
    """A ``tokenizer.json`` as RoBERTa's."""
    backend = byte_level()
    backend.add_special_tokens([*FAIRSEQ, AddedToken("<mask>", lstrip=True)])
    backend.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return {**json.loads(backend.to_str()), **changes}


def modernbert() -> dict[str, Any]:
    """A byte-level ``tokenizer.json`` with BERT's special tokens, as ModernBERT's."""
    raw = roberta()
    backend = tokenizers.Tokenizer.from_str(json.dumps({**raw, "added_tokens": []}))
    backend.normalizer = normalizers.NFC()
    backend.add_special_tokens([*SPECIALS[:4], AddedToken("[MASK]", lstrip=True)])
    template = [(token, backend.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=template
    )
    return json.loads(backend.to_str())


def sentencepiece(specials: list[str], normalizer: Any, **changes: Any) -> dict[str, Any]:
    """A Unigram ``tokenizer.json`` with some special tokens at its beginning."""
    pieces = [(token, 0.0) for token in specials] + [("▁the", -2.0), ("▁cat", -2.5), ("▁", -3.0), ("<ent>", -3.0)]
    pieces += [(letter, -4.0 - index / 10) for index, letter in enumerate(LETTERS + "ABCDEFGHIJ日本é.,!?\"'`")]
    backend = tokenizers.Tokenizer(models.Unigram(pieces, unk_id=specials.index("<unk>") if "<unk>" in specials else 1))
    backend.normalizer = normalizer
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.add_special_tokens([token for token in specials if token not in ("<mask>", "[MASK]")])
    backend.add_special_tokens([AddedToken(token, lstrip=True) for token in specials if token in ("<mask>", "[MASK]")])
    return {**json.loads(backend.to_str()), **changes}


def template(start: str, end: str, index: int) -> dict[str, Any]:
    made = processors.TemplateProcessing(
        single=f"{start} $A {end}", pair=f"{start} $A {end} $B {end}", special_tokens=[(start, index), (end, index + 1)]
    )
    return json.loads(made.__getstate__())


def word_level() -> dict[str, Any]:
    """A ``tokenizer.json`` whose tokens are whole words."""
    ids = {word: index for index, word in enumerate(WORDS) if not word.startswith("##")}
    ids = {word: index for index, word in enumerate(ids)}
    backend = tokenizers.Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.add_special_tokens(SPECIALS)
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return json.loads(backend.to_str())


def of(model_type: str) -> dict[str, Any]:
    """A configuration of a family, without a class for the tokenizer."""
    return {**CONFIG, "model_type": model_type}


CAMEMBERT = ["<s>NOTUSED", "<pad>", "</s>NOTUSED", "<unk>", "<unk>NOTUSED", "<s>", "</s>", "<mask>"]
ALBERT = ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"]
MPNET = ["<s>", "<pad>", "</s>", "<unk>", *WORDS, "<mask>"]
#: Name -> files, as in :data:`tests.tokenizer_folders.FOLDERS`.
FAMILY_FOLDERS: dict[str, dict[str, Any]] = {
    "roberta, json": {"tokenizer.json": roberta(), CONFIG_FILE: {"tokenizer_class": "RobertaTokenizer"}},
    "roberta, json, by its family": {"config.json": of("roberta"), "tokenizer.json": roberta()},
    "roberta, json as it is": {
        "config.json": of("roberta"),
        "tokenizer.json": roberta(),
        CONFIG_FILE: {"tokenizer_class": "PreTrainedTokenizerFast", "mask_token": "<mask>", "pad_token": "<pad>"}
        | {"cls_token": "<s>", "sep_token": "</s>", "unk_token": "<unk>"},
    },
    "roberta, two files": {
        "config.json": of("roberta"),
        "vocab.json": VOCAB_JSON,
        "merges.txt": MERGES_TXT,
    },
    "roberta, two files and a map": {
        "config.json": of("roberta"),
        "vocab.json": VOCAB_JSON,
        "merges.txt": MERGES_TXT,
        MAP_FILE: {"mask_token": added("<mask>", lstrip=True), "cls_token": "<s>"},
        "added_tokens.json": {"<ent>": 420},
    },
    "roberta, a space in front": {
        "config.json": of("roberta"),
        "vocab.json": VOCAB_JSON,
        "merges.txt": MERGES_TXT,
        CONFIG_FILE: {"add_prefix_space": True, "trim_offsets": False},
    },
    "roberta, another pipeline in the json": {
        "config.json": of("roberta"),
        "tokenizer.json": roberta(normalizer={"type": "Lowercase"}),
    },
    "modernbert": {
        "config.json": of("modernbert"),
        "tokenizer.json": modernbert(),
        CONFIG_FILE: {"tokenizer_class": "PreTrainedTokenizerFast"},
    },
    "camembert": {
        "config.json": of("camembert"),
        "tokenizer.json": sentencepiece(CAMEMBERT, normalizers.NFKC()),
        CONFIG_FILE: {"tokenizer_class": "CamembertTokenizer"},
    },
    "camembert, without unused tokens": {
        "config.json": of("camembert"),
        "tokenizer.json": sentencepiece([*FAIRSEQ, "<mask>"], normalizers.NFKC()),
    },
    "xlm-roberta": {"config.json": of("xlm-roberta"), "tokenizer.json": unigram()},
    "albert": {
        "config.json": of("albert"),
        "tokenizer.json": sentencepiece(ALBERT, normalizers.NFKD(), post_processor=template("[CLS]", "[SEP]", 2)),
    },
    "albert, without a template": {
        "config.json": of("albert"),
        "tokenizer.json": sentencepiece(ALBERT, normalizers.NFKD()),
        CONFIG_FILE: {
            "do_lower_case": False,
            "keep_accents": True,
            "mask_token": {"__type": "AddedToken", **added("[MASK]", lstrip=True)},
        },
    },
    "deberta-v2": {
        "config.json": of("deberta-v2"),
        "tokenizer.json": sentencepiece(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], normalizers.NFKC()),
        CONFIG_FILE: {"tokenizer_class": "DebertaV2Tokenizer"},
    },
    "deberta-v2, by punctuation": {
        "tokenizer.json": sentencepiece(["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"], normalizers.NFKC()),
        CONFIG_FILE: {"tokenizer_class": "DebertaV2TokenizerFast", "split_by_punct": True, "do_lower_case": True},
    },
    "mpnet": {"config.json": of("mpnet"), "vocab.txt": vocab(MPNET)},
    "mpnet, cased": {
        "config.json": of("mpnet"),
        "vocab.txt": vocab(MPNET),
        CONFIG_FILE: {"tokenizer_class": "MPNetTokenizer", "do_lower_case": False, "mask_token": "<mask>"},
    },
    "words": {
        "tokenizer.json": word_level(),
        CONFIG_FILE: {"tokenizer_class": "PreTrainedTokenizerFast", "mask_token": "[MASK]", "unk_token": "[UNK]"},
    },
    "electra, by its family": {"config.json": of("electra"), "vocab.txt": vocab()},
    "distilbert, by its family": {"config.json": of("distilbert"), "vocab.txt": vocab()},
}


TOKENS = ("<ent>", "<e1>", "<url>", "@user", "new entity", "café", "<mask>", "[MASK]", "</s>", "<s>", "the")
FLAGS = ("lstrip", "rstrip", "normalized", "single_word")
SWITCHES = ("add_prefix_space", "trim_offsets", "do_lower_case", "keep_accents", "split_by_punct", "strip_accents")
ROLES = ("mask_token", "pad_token", "bos_token", "eos_token", "cls_token", "sep_token", "url_token")


def random_family_folder(rng: random.Random) -> dict[str, Any]:
    """The files of one of these folders, with random settings and tokens."""

    def said(mark: dict[str, str]) -> Any:
        flags = {flag: rng.random() < 0.3 for flag in FLAGS}
        return rng.choice(TOKENS) if rng.random() < 0.5 else {**mark, "content": rng.choice(TOKENS), **flags}

    files = dict(rng.choice([*FAMILY_FOLDERS.values()]))
    settings = dict(files.get(CONFIG_FILE) or {})
    settings |= {switch: rng.random() < 0.5 for switch in SWITCHES if rng.random() < 0.2}
    settings |= {role: said({"__type": "AddedToken"}) for role in ROLES if rng.random() < 0.1}
    if rng.random() < 0.2:
        settings["additional_special_tokens"] = [said({"__type": "AddedToken"})]
    if rng.random() < 0.2:
        files[MAP_FILE] = {role: said({}) for role in ("mask_token", "sep_token") if rng.random() < 0.5}
    if rng.random() < 0.2:
        files["added_tokens.json"] = {rng.choice(TOKENS): len(WORDS) + place for place in range(2)}
    return {**files, CONFIG_FILE: settings}
