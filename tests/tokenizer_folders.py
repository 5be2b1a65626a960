"""Folders with every kind of tokenizer file that published BERTs have, and texts that tell them apart."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, processors

CONFIG = {"model_type": "bert", "vocab_size": 400, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
LETTERS = "abcdefghijklmnopqrstuvwxyz"
SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = [
    *SPECIALS,
    *("[unused1]", "[unused2]", "the", "cat", "angel", "##a", "Angela", "Cat", "THE", "new", "##est", "entity", "ent"),
    *("a", "##s", "une", "caf", "##e", "##é", "café", "cafe", "é", "É", "e", "ß", "ss", "##ß", "İ", "i", "ﬁ", "ﬁ"),
    *("日", "本", "語", "日本", "##本", "##語", "一", "##一", "한", "국", "ก", "🙂", "\u00a0", "##\u0301", "\u200d"),
    *("don", "'", "t", "##t", "-", "_", "@", "#", "##x", "$", ".", ",", "!", "?", "<", ">", "[", "]", "/", "*", "$$"),
    *("0", "1", "##0", "##1", "2026", "user", "url", "mask", "pad", "##ing", "sep", "cls", "unk", "«", "»", "—", "–"),
    *(f"##{letter}" for letter in LETTERS if letter not in "aestx"),
    *(letter for letter in LETTERS if letter not in "aeit"),
    *(letter.upper() for letter in LETTERS),
]
WORDS = list(dict.fromkeys(WORDS))

#: One hundred texts.
TEXTS = [
    *("", " ", "\t\n", "a", "A", "the cat", "The Cat", "THE CAT", "Angela", "ANGELA", "angela", "the  cat \t the\ncat"),
    *("[MASK]", "the [MASK] cat", "[mask]", "the[MASK]cat", "[CLS] a [SEP]", "[PAD]", "[UNK] [UNK]", "[unused1] a"),
    *("[unused1]a[unused2]", "[Unused1]", "[ MASK ]", "[MASK", "MASK]", "<ent>", "a <ent> b", "a<ent>b", "<ENT>"),
    *("<ent><ent>", "<e1> <e2>", "<e2>the<e1>", "<E1>", "<url>", "@user <url>", "@USER", "new entity", "newentity"),
    *("New Entity", "entities", "  <ent>  ", "<ent >", "</s>", "<s> a </s>", "café", "Café", "CAFÉ", "cafe\u0301"),
    *("CAFE\u0301", "é É e\u0301 E\u0301", "naïve", "ß SS ẞ", "İstanbul i̇", "ﬁ fi", "ﬁt", "Ǆ ǅ ǆ", "日本", "日本語"),
    *(
        "日本 語",
        "in日本at",
        "一二三",
        "한국",
        "한국어",
        "กขค",
        "🙂",
        "the🙂cat",
        "👩\u200d👩\u200d👧",
        "don't",
        "Don't!",
    ),
    *("the-cat_the", "@user #x", "$3.50", "$$", "$$$", "a.b,c!d?", "...", "«the» —cat–", "[a]", "a/b*c", "2026"),
    *("10 01 1010", "the\u00a0cat", "the\u200bcat", "the\ufeffcat", "\ufeffthe", "\u2028the\u2029cat", "a\x00b\x07c"),
    *("a\u00adb", "a" * 100, "a" * 101, "ab" * 60, "x" * 300, "the " * 40, "aaaa bbbb", "testing", "newest"),
    *("\U0001d400\U0001d401", "ΑΒΓ αβγς", "Привет", "שלום", "مرحبا", "हिन्दी", "ｆｕｌｌ", "①②", "½", "∑∞", "\u3000a"),
]
PAIRS = [("the cat", "Angela"), ("", "a"), ("a", ""), ("<ent> a", "b [SEP] c"), ("日本", "[MASK] café")]


def vocab(words: list[str] = WORDS, *, end: str = "\n", last: str = "") -> bytes:
    """A ``vocab.txt``."""
    return ("".join(f"{word}{end}" for word in words) + last).encode()


def serialized(*added: str | tokenizers.AddedToken, lowercase: bool = True, **changes: Any) -> dict[str, Any]:
    """A ``tokenizer.json`` of BERT's WordPiece; ``changes`` take the place of what is at its top level."""
    ids = {word: index for index, word in enumerate(WORDS)}
    backend = tokenizers.Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.add_special_tokens(SPECIALS)
    backend.add_tokens(list(added))
    template = [("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])]
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=template
    )
    return {**json.loads(backend.to_str()), **changes}


def unigram() -> dict[str, Any]:
    """A ``tokenizer.json`` as multilingual models have it, with special tokens of other names."""
    pieces = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁the", -2.0), ("▁cat", -2.5), ("▁", -3.0)]
    pieces += [(letter, -4.0 - index / 10) for index, letter in enumerate(LETTERS + "ABCDEFGHIJ日本é.,!?")]
    pieces += [("<mask>", 0.0)]
    backend = tokenizers.Tokenizer(models.Unigram(pieces, unk_id=3))
    backend.normalizer = normalizers.NFKC()
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>"])
    backend.add_special_tokens([tokenizers.AddedToken("<mask>", lstrip=True)])
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return json.loads(backend.to_str())


def added(content: str, **fields: bool) -> dict[str, Any]:
    """An added token as ``added_tokens_decoder`` and ``special_tokens_map.json`` write it."""
    return {"content": content, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, **fields}


N = len(WORDS)
ROLES = {"unk_token": "<unk>", "cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>", "mask_token": "<mask>"}
ROLE_ORDER = ("pad", "unk", "cls", "sep", "mask")
RENAMED = {token: f"<{role}>" for role, token in zip(ROLE_ORDER, SPECIALS, strict=True)}
CONFIG_FILE = "tokenizer_config.json"
MAP_FILE = "special_tokens_map.json"
RANDOM_TOKENS = ("<ent>", "<e1>", "<url>", "@user", "new entity", "[unused1]", "café", "Cat", "don't", "[MASK]", "</s>")
#: Name -> files. ``config.json`` is there unless it is None.
FOLDERS: dict[str, dict[str, Any]] = {
    "vocab alone": {"vocab.txt": vocab()},
    "vocab, cased": {"vocab.txt": vocab(), CONFIG_FILE: {"do_lower_case": False}},
    "vocab, accents kept": {"vocab.txt": vocab(), CONFIG_FILE: {"do_lower_case": True, "strip_accents": False}},
    "vocab, cased, accents removed": {
        "vocab.txt": vocab(),
        CONFIG_FILE: {"do_lower_case": False, "strip_accents": True},
    },
    "vocab, Chinese not split": {"vocab.txt": vocab(), CONFIG_FILE: {"tokenize_chinese_chars": False}},
    "vocab, no basic tokenizer": {"vocab.txt": vocab(), CONFIG_FILE: {"do_basic_tokenize": False}},
    "vocab, never split": {"vocab.txt": vocab(), CONFIG_FILE: {"never_split": ["[unused1]", "don't"]}},
    "vocab, byte order mark": {"vocab.txt": b"\xef\xbb\xbf" + vocab()},
    "vocab, byte order mark at a word": {"vocab.txt": b"\xef\xbb\xbf" + vocab(["the", *SPECIALS, *WORDS[5:]])},
    "vocab, blank last line": {"vocab.txt": vocab(last="\n")},
    "vocab, blank last lines": {"vocab.txt": vocab(last="\n \n\n"), "added_tokens.json": {"<ent>": N}},
    "vocab, no last line end": {"vocab.txt": vocab().rstrip(b"\n")},
    "vocab, trailing blanks": {"vocab.txt": vocab(end=" \t\n")},
    "vocab, leading blanks": {"vocab.txt": vocab([*WORDS, "  zebra", "\u3000"])},
    "vocab, other line ends": {"vocab.txt": vocab(end="\r\n")},
    "vocab, twice the same": {"vocab.txt": vocab([*WORDS, "the", "cat"])},
    "vocab, separators as words": {"vocab.txt": vocab([*WORDS, "\x1c", "\x85", "\u2028", "a\rb"])},
    "vocab without [MASK]": {"vocab.txt": vocab([word for word in WORDS if word != "[MASK]"])},
    "vocab, specials of other names": {
        "vocab.txt": vocab([RENAMED.get(word, word) for word in WORDS]),
        CONFIG_FILE: {f"{role}_token": RENAMED[token] for role, token in zip(ROLE_ORDER, SPECIALS, strict=True)},
    },
    "vocab, other specials": {"vocab.txt": vocab(), CONFIG_FILE: {"bos_token": "<s>", "eos_token": "</s>"}},
    "vocab, a special of its own": {"vocab.txt": vocab(), CONFIG_FILE: {"url_token": "<url>"}},
    "vocab, no mask": {"vocab.txt": vocab(), CONFIG_FILE: {"mask_token": None}},
    "vocab, added_tokens.json": {"vocab.txt": vocab(), "added_tokens.json": {"<ent>": N, "new entity": N + 1}},
    "vocab, added_tokens.json, other ids": {"vocab.txt": vocab(), "added_tokens.json": {"<e1>": N + 9, "<e2>": N + 3}},
    "vocab, added_tokens.json of words": {"vocab.txt": vocab(), "added_tokens.json": {"[unused1]": 5, "$$": 60}},
    "vocab, added tokens and map": {
        "vocab.txt": vocab(),
        "added_tokens.json": {"<ent>": N, "<url>": N + 1, "@user": N + 2},
        MAP_FILE: {"additional_special_tokens": ["<ent>", "<url>"], "mask_token": "[MASK]"},
    },
    "vocab, map": {"vocab.txt": vocab(), MAP_FILE: {"mask_token": added("[MASK]", lstrip=True), "sep_token": "[SEP]"}},
    "vocab, map of other names": {"vocab.txt": vocab(), MAP_FILE: {"mask_token": "[unused1]"}},
    "vocab, map beats settings": {
        "vocab.txt": vocab(),
        CONFIG_FILE: {"mask_token": "[unused2]"},
        MAP_FILE: {"mask_token": "[unused1]"},
    },
    "vocab, map with a special of its own": {"vocab.txt": vocab(), MAP_FILE: {"url_token": added("<url>")}},
    "vocab, additional_special_tokens": {
        "vocab.txt": vocab(),
        CONFIG_FILE: {"additional_special_tokens": ["<ent>", "[unused1]", "<e1>", "<e1>"]},
    },
    "vocab, additional_special_tokens twice": {
        "vocab.txt": vocab(),
        CONFIG_FILE: {"additional_special_tokens": ["<ent>"]},
        MAP_FILE: {"additional_special_tokens": ["<e1>"]},
    },
    "vocab, extra_special_tokens": {
        "vocab.txt": vocab(),
        CONFIG_FILE: {"extra_special_tokens": {"url_token": "<url>"}},
    },
    "vocab, extra_special_tokens in the map": {
        "vocab.txt": vocab(),
        CONFIG_FILE: {"extra_special_tokens": ["<e2>"]},
        MAP_FILE: {"extra_special_tokens": [added("<e1>"), "<ent>"]},
    },
    "vocab, marked specials": {
        "vocab.txt": vocab(),
        CONFIG_FILE: {"mask_token": {"__type": "AddedToken", **added("[MASK]", lstrip=True, rstrip=True)}},
    },
    "vocab, added_tokens_decoder": {
        "vocab.txt": vocab(),
        CONFIG_FILE: {
            "added_tokens_decoder": {
                **{str(index): added(word, special=True) for index, word in enumerate(SPECIALS)},
                str(N): added("<ent>", special=False, normalized=True),
                str(N + 1): added("new entity", special=False, single_word=True),
                "5": added("[unused1]", special=True, lstrip=True),
            }
        },
    },
    "vocab, added_tokens_decoder beats the others": {
        "vocab.txt": vocab(),
        CONFIG_FILE: {"added_tokens_decoder": {str(N): added("<ent>", special=True)}},
        "added_tokens.json": {"<e1>": N},
        MAP_FILE: {"additional_special_tokens": ["<e2>"]},
    },
    "vocab, class in config.json": {
        "config.json": {**CONFIG, "tokenizer_class": "BertTokenizer"},
        "vocab.txt": vocab(),
    },
    "json alone": {"tokenizer.json": serialized()},
    "json, cased, nothing said": {"tokenizer.json": serialized(lowercase=False)},
    "json cased, settings not": {"tokenizer.json": serialized(lowercase=False), CONFIG_FILE: {"do_lower_case": True}},
    "json not cased, settings cased": {"tokenizer.json": serialized(), CONFIG_FILE: {"do_lower_case": False}},
    "json, accents kept by settings": {"tokenizer.json": serialized(), CONFIG_FILE: {"strip_accents": False}},
    "json, Chinese not split": {"tokenizer.json": serialized(), CONFIG_FILE: {"tokenize_chinese_chars": False}},
    "json and another vocab": {"tokenizer.json": serialized(), "vocab.txt": vocab(WORDS[::-1])},
    "json, added tokens": {
        "tokenizer.json": serialized("<ent>", tokenizers.AddedToken("new entity", single_word=True))
    },
    "json, added tokens and settings": {
        "tokenizer.json": serialized("<ent>", "<e1>"),
        CONFIG_FILE: {"added_tokens_decoder": {"4": added("[MASK]", lstrip=True, special=True)}},
    },
    "json, and a file of added tokens": {"tokenizer.json": serialized("<ent>"), "added_tokens.json": {"<e1>": N + 1}},
    "json, and a file of special tokens": {
        "tokenizer.json": serialized(),
        MAP_FILE: {"additional_special_tokens": ["<e1>", "<url>"]},
    },
    "json, another normalizer": {"tokenizer.json": serialized(normalizer={"type": "NFKC"})},
    "json, another pre-tokenizer": {"tokenizer.json": serialized(pre_tokenizer={"type": "WhitespaceSplit"})},
    "json, another template": {
        "tokenizer.json": serialized(
            post_processor={"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]}
        )
    },
    "json, no template": {"tokenizer.json": serialized(post_processor=None)},
    "json, shorter words": {
        "tokenizer.json": serialized(model={**serialized()["model"], "max_input_chars_per_word": 10}),
    },
    "json, truncation and padding": {
        "tokenizer.json": serialized(
            truncation={"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0},
            padding={
                **{"strategy": {"Fixed": 12}, "direction": "Right", "pad_to_multiple_of": None},
                **{"pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"},
            },
        )
    },
    "json of another time": {
        "tokenizer.json": serialized(model={k: v for k, v in serialized()["model"].items() if k != "type"})
    },
    "json as it is": {
        "tokenizer.json": serialized("<ent>", lowercase=False),
        CONFIG_FILE: {"tokenizer_class": "PreTrainedTokenizerFast", "do_lower_case": True},
    },
    "json as it is, its own pipeline": {
        "tokenizer.json": serialized(normalizer={"type": "NFKC"}, pre_tokenizer={"type": "WhitespaceSplit"}),
        CONFIG_FILE: {"tokenizer_class": "PreTrainedTokenizerFast", "mask_token": "[MASK]"},
    },
    "json as it is, no template": {
        "tokenizer.json": serialized(post_processor=None),
        CONFIG_FILE: {"tokenizer_class": "PreTrainedTokenizerFast"},
    },
    "json as it is, more tokens": {
        "tokenizer.json": serialized(),
        CONFIG_FILE: {
            "tokenizer_class": "TokenizersBackend",
            "additional_special_tokens": ["<ent>"],
            "mask_token": "[MASK]",
        },
    },
    "json, a class of its own": {
        "tokenizer.json": serialized(normalizer={"type": "NFKC"}),
        CONFIG_FILE: {"tokenizer_class": "WonderfulTokenizer", "do_lower_case": True},
    },
    "unigram as it is": {
        "tokenizer.json": unigram(),
        CONFIG_FILE: {"tokenizer_class": "PreTrainedTokenizerFast", **ROLES},
    },
    "unigram of XLM-RoBERTa": {
        "tokenizer.json": unigram(),
        CONFIG_FILE: {"tokenizer_class": "XLMRobertaTokenizer", **ROLES},
    },
    **{
        f"class {name}": {"vocab.txt": vocab(), CONFIG_FILE: {"tokenizer_class": name, "do_lower_case": False}}
        for name in (
            *("BertTokenizer", "BertTokenizerFast", "DistilBertTokenizer", "DistilBertTokenizerFast"),
            *("ElectraTokenizer", "ElectraTokenizerFast", "ConvBertTokenizer", "LayoutLMTokenizer", "LxmertTokenizer"),
            *("MobileBertTokenizer", "SqueezeBertTokenizerFast"),
        )
    },
}

#: Name -> files, and the name that the refusal must tell.
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "Japanese": (
        {"vocab.txt": vocab(), CONFIG_FILE: {"tokenizer_class": "BertJapaneseTokenizer"}},
        "BertJapaneseTokenizer",
    ),
    "Japanese in config.json": (
        {"config.json": {**CONFIG, "tokenizer_class": "BertJapaneseTokenizer"}, "vocab.txt": vocab()},
        "BertJapaneseTokenizer",
    ),
    "Japanese with a json": (
        {"tokenizer.json": serialized(), CONFIG_FILE: {"tokenizer_class": "BertJapaneseTokenizer"}},
        "BertJapaneseTokenizer",
    ),
    "SentencePiece's own file": (
        {"spiece.model": b"", CONFIG_FILE: {"tokenizer_class": "AlbertTokenizer"}},
        "has spiece.model and no tokenizer.json",
    ),
    "Unigram without a json": (
        {"vocab.txt": vocab(), CONFIG_FILE: {"tokenizer_class": "AlbertTokenizer"}},
        "AlbertTokenizer, which needs a tokenizer.json",
    ),
    "another family": (
        {"vocab.txt": vocab(), CONFIG_FILE: {"tokenizer_class": "GPT2Tokenizer"}},
        "GPT2Tokenizer",
    ),
    "a class of its own": (
        {"vocab.txt": vocab(), CONFIG_FILE: {"tokenizer_class": "KoBertTokenizer"}},
        "KoBertTokenizer",
    ),
    "another of BERT's family": (
        {"vocab.txt": vocab(), CONFIG_FILE: {"tokenizer_class": "DPRQuestionEncoderTokenizer"}},
        "DPRQuestionEncoderTokenizer",
    ),
    "as it is without a json": (
        {"vocab.txt": vocab(), CONFIG_FILE: {"tokenizer_class": "PreTrainedTokenizerFast"}},
        "PreTrainedTokenizerFast",
    ),
    "not WordPiece": (
        {"tokenizer.json": unigram(), CONFIG_FILE: {"tokenizer_class": "BertTokenizer", **ROLES}},
        "Unigram",
    ),
    "special tokens are split": (
        {"vocab.txt": vocab(), CONFIG_FILE: {"split_special_tokens": True}},
        "split_special_tokens",
    ),
    "many json files": (
        {"tokenizer.json": serialized(), CONFIG_FILE: {"fast_tokenizer_files": ["tokenizer.4.0.0.json"]}},
        "fast_tokenizer_files",
    ),
    "no list of json files": (
        {"vocab.txt": vocab(), CONFIG_FILE: {"fast_tokenizer_files": True}},
        "fast_tokenizer_files",
    ),
    "no start": ({"vocab.txt": vocab(), CONFIG_FILE: {"cls_token": None}}, "cls_token"),
    "casing in words": ({"vocab.txt": vocab(), CONFIG_FILE: {"do_lower_case": "false"}}, "do_lower_case"),
}


def write(folder: Path, files: dict[str, Any]) -> Path:
    """Write the files of a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in {"config.json": CONFIG, **files}.items():
        if isinstance(content, bytes):
            (folder / name).write_bytes(content)
        elif content is not None:
            (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return folder


def inputs() -> Iterator[tuple[str, str | None]]:
    """Every text alone, and the pairs."""
    yield from ((text, None) for text in TEXTS)
    yield from PAIRS


def theirs(folder: Path, texts: list[str]) -> list[list[int]]:
    """The ids of texts by the fast tokenizer of ``transformers``."""
    import transformers

    return transformers.AutoTokenizer.from_pretrained(folder, use_fast=True)(texts)["input_ids"]


def random_folder(rng: random.Random) -> dict[str, Any]:
    """Files that say at random what the five kinds of files can say of special and added tokens, and of casing."""

    def flags() -> dict[str, bool]:
        return {flag: rng.random() < 0.3 for flag in ("lstrip", "rstrip", "normalized", "single_word")}

    def word() -> str:
        return rng.choice(RANDOM_TOKENS)

    def said(mark: dict[str, str]) -> Any:
        return word() if rng.random() < 0.5 else {**mark, "content": word(), **flags()}

    def sometimes(share: float, **settings: Any) -> dict[str, Any]:
        return settings if rng.random() < share else {}

    marked, plain = {"__type": "AddedToken"}, {}
    names = ("mask_token", "sep_token", "pad_token", "bos_token", "url_token")
    listed = {str(rng.choice((3, 4, 5, N, N + 1))): {**added(word()), **flags()} for _ in range(3)}
    settings = {
        **sometimes(0.7, do_lower_case=rng.random() < 0.5),
        **sometimes(0.2, strip_accents=rng.random() < 0.5),
        **{name: said(marked) for name in names if rng.random() < 0.15},
        **sometimes(0.3, additional_special_tokens=[said(marked), said(marked)]),
        **sometimes(0.2, extra_special_tokens=[said(marked)] if rng.random() < 0.5 else {"url_token": word()}),
        **sometimes(0.3, added_tokens_decoder=listed),
        **sometimes(0.3, tokenizer_class=rng.choice(("BertTokenizer", "PreTrainedTokenizerFast", "Unheard"))),
    }
    named = {name: said(plain) for name in names if rng.random() < 0.15}
    own = [tokenizers.AddedToken(word(), **flags()) for _ in range(rng.randint(0, 3))]
    return {
        CONFIG_FILE: settings,
        "vocab.txt": vocab(),
        **sometimes(0.4, **{MAP_FILE: {**named, **sometimes(0.5, additional_special_tokens=[word(), word()])}}),
        **sometimes(0.3, **{"added_tokens.json": {word(): N + place for place in range(2)}}),
        **sometimes(0.6, **{"tokenizer.json": serialized(*own, lowercase=rng.random() < 0.5)}),
    }
