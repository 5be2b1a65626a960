"""The pipelines that the tokenizer classes of ``transformers`` 5 build themselves, one row for each class.

Such a class takes the vocabulary, the merges and the added tokens from the files, and ignores the other parts of
``tokenizer.json``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import tokenizers
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, processors

from bertedge.tokenizer_json import parts_of
from bertedge.wordpiece import SPECIAL_TOKENS, bert_pipeline, bert_template

#: Settings of ``tokenizer_config.json`` about the text, and their defaults.
SWITCHES: dict[str, bool | None] = {"do_lower_case": True, "strip_accents": None, "tokenize_chinese_chars": True}


@dataclass(frozen=True, kw_only=True)
class Files:
    """What a pipeline is built from.

    Attributes:
        settings: ``tokenizer_config.json``.
        model: ``model`` of ``tokenizer.json``; at least ``vocab``.
        normalizer: ``normalizer`` of ``tokenizer.json``.
        named: a name such as ``unk_token`` -> the token.
    """

    settings: Mapping[str, Any]
    model: Mapping[str, Any]
    normalizer: Any
    named: Mapping[str, str]

    def switch(self, name: str, default: bool | None) -> bool | None:
        """A setting; null counts as not given."""
        value = self.settings.get(name)
        return default if value is None else bool(value)

    @property
    def unk(self) -> str:
        """The token for unknown text."""
        return self.named.get("unk_token") or SPECIAL_TOKENS["unk"]

    @property
    def charsmap(self) -> normalizers.Normalizer | None:
        """The normalization that SentencePiece stores in its models."""
        for part in parts_of(self.normalizer, "normalizers"):
            if part.get("type") == "Precompiled":
                alone = json.loads(tokenizers.Tokenizer(models.WordPiece({}, unk_token="")).to_str())
                return tokenizers.Tokenizer.from_str(json.dumps({**alone, "normalizer": part})).normalizer
        return None


Template = Callable[[tokenizers.Tokenizer, Files], Any]


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """How a class builds its tokenizer.

    Attributes:
        model: the kind of vocabulary that it takes.
        specials: its special tokens, if the files do not name them.
        build: makes the tokenizer, without added tokens and template.
        template: makes the post-processor, from a tokenizer that has its added tokens.
        ends: the names of the special tokens in its template.
        own_template: whether its template replaces that of ``tokenizer.json``.
        strips_before_mask: whether ``<mask>`` takes the space before it, if the files say nothing of it.
        switches: its settings of ``tokenizer_config.json`` that are true or false.
    """

    model: type
    specials: dict[str, str]
    build: Callable[[Files], tokenizers.Tokenizer]
    template: Template
    ends: tuple[str, str] = ("cls_token", "sep_token")
    own_template: bool = True
    strips_before_mask: bool = False
    switches: tuple[str, ...] = field(default=())


# -- templates ------------------------------------------------------------------------------------------------------


def _cls_and_sep(backend: tokenizers.Tokenizer, files: Files) -> Any:
    return bert_template(backend, files.named["cls_token"], files.named["sep_token"])


def _start_and_end(backend: tokenizers.Tokenizer, files: Files) -> Any:
    """``<s> A </s>`` and ``<s> A </s> </s> B </s>``, with one segment."""
    start, end = files.named["bos_token"], files.named["eos_token"]
    return processors.TemplateProcessing(
        single=[start, "$A", end],
        pair=[start, "$A", end, end, "$B", end],
        special_tokens=[(token, backend.token_to_id(token)) for token in (start, end)],
    )


def _roberta_template(backend: tokenizers.Tokenizer, files: Files) -> Any:
    """The same, with offsets that leave out spaces."""
    trim, prefix = files.switch("trim_offsets", True), files.switch("add_prefix_space", False)
    return processors.RobertaProcessing(*_sep_and_cls(backend, files), bool(trim), bool(prefix))


def _mpnet_template(backend: tokenizers.Tokenizer, files: Files) -> Any:
    return processors.RobertaProcessing(*_sep_and_cls(backend, files), True, False)


def _sep_and_cls(backend: tokenizers.Tokenizer, files: Files) -> tuple[Any, Any]:
    sep, cls = files.named["sep_token"], files.named["cls_token"]
    return (sep, backend.token_to_id(sep)), (cls, backend.token_to_id(cls))


# -- pipelines ------------------------------------------------------------------------------------------------------


def _wordpiece(files: Files) -> tokenizers.Tokenizer:
    switches = {name: files.switch(name, default) for name, default in SWITCHES.items()}
    return bert_pipeline(
        models.WordPiece(files.model["vocab"], unk_token=files.unk),
        lowercase=bool(switches["do_lower_case"]),
        strip_accents=switches["strip_accents"],
        chinese=bool(switches["tokenize_chinese_chars"]),
    )


def _byte_level(files: Files) -> tokenizers.Tokenizer:
    """Byte-level BPE (Radford et al. 2019): every byte is a character, so no text is unknown."""
    merges: Any = [tuple(merge.split(" ") if isinstance(merge, str) else merge) for merge in files.model["merges"]]
    model = models.BPE(
        vocab=files.model["vocab"],
        merges=merges,
        continuing_subword_prefix="",
        end_of_word_suffix="",
        fuse_unk=False,
    )
    backend = tokenizers.Tokenizer(model)
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=bool(files.switch("add_prefix_space", False)))
    backend.decoder = decoders.ByteLevel()
    return backend


def _unigram(files: Files, unk_id: int, others: str = "never") -> tokenizers.Tokenizer:
    """SentencePiece's Unigram (Kudo 2018) over words that begin with a visible space.

    Args:
        others: where the space is put, if ``add_prefix_space`` is false.
    """
    vocab = [(token, score) for token, score in files.model["vocab"]]
    backend = tokenizers.Tokenizer(models.Unigram(vocab, unk_id=unk_id, byte_fallback=False))
    scheme = "always" if files.switch("add_prefix_space", True) else others
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme=scheme)]
    )
    backend.decoder = decoders.Metaspace(prepend_scheme=scheme)
    return backend


def _xlm_roberta(files: Files) -> tokenizers.Tokenizer:
    backend = _unigram(files, 3)
    if files.charsmap is not None:
        backend.normalizer = files.charsmap
    return backend


def _camembert(files: Files) -> tokenizers.Tokenizer:
    backend = _unigram(files, next((i for i, (token, _) in enumerate(files.model["vocab"]) if token == files.unk), 0))
    if files.charsmap is not None:
        backend.normalizer = files.charsmap
    return backend


def _albert(files: Files) -> tokenizers.Tokenizer:
    backend = _unigram(files, 1)
    steps: list[normalizers.Normalizer] = [normalizers.Replace("``", '"'), normalizers.Replace("''", '"')]
    if not files.switch("keep_accents", False):
        steps += [normalizers.NFKD(), normalizers.StripAccents()]
    if files.switch("do_lower_case", True):
        steps.append(normalizers.Lowercase())
    if files.charsmap is not None:
        steps.append(files.charsmap)
    backend.normalizer = normalizers.Sequence(steps)
    return backend


def _deberta_v2(files: Files) -> tokenizers.Tokenizer:
    vocab = [tuple(entry) for entry in files.model["vocab"]]
    given = files.settings.get("unk_id", 1)
    backend = _unigram(files, vocab.index((files.unk, 0.0)) if (files.unk, 0.0) in vocab else given, others="first")
    lower = [normalizers.Lowercase()] if files.switch("do_lower_case", False) else []
    spaces = normalizers.Replace(Regex(r"\s{2,}|[\n\r\t]"), " ")
    backend.normalizer = normalizers.Sequence(
        [*lower, spaces, normalizers.NFC(), normalizers.Strip(left=False, right=True)]
    )
    scheme = "always" if files.switch("add_prefix_space", True) else "first"
    punctuation = [pre_tokenizers.Punctuation(behavior="isolated")] if files.switch("split_by_punct", False) else []
    backend.pre_tokenizer = pre_tokenizers.Sequence([*punctuation, pre_tokenizers.Metaspace(prepend_scheme=scheme)])
    return backend


BERT_SPECIALS = {f"{role}_token": token for role, token in SPECIAL_TOKENS.items()}
FAIRSEQ_SPECIALS = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "sep_token": "</s>",
    "pad_token": "<pad>",
    "cls_token": "<s>",
    "mask_token": "<mask>",
}
ENDS = {"bos_token": "[CLS]", "eos_token": "[SEP]"}
SPACES = ("add_prefix_space", "trim_offsets")
#: Class of ``transformers`` -> its pipeline.
PIPELINES: dict[str, Pipeline] = {
    "BertTokenizer": Pipeline(
        model=models.WordPiece, specials=BERT_SPECIALS, build=_wordpiece, template=_cls_and_sep, switches=(*SWITCHES,)
    ),
    "MPNetTokenizer": Pipeline(
        model=models.WordPiece,
        specials={**FAIRSEQ_SPECIALS, "unk_token": "[UNK]"},
        build=_wordpiece,
        template=_mpnet_template,
        strips_before_mask=True,
        switches=(*SWITCHES,),
    ),
    "RobertaTokenizer": Pipeline(
        model=models.BPE, specials=FAIRSEQ_SPECIALS, build=_byte_level, template=_roberta_template, switches=SPACES
    ),
    "XLMRobertaTokenizer": Pipeline(
        model=models.Unigram,
        specials=FAIRSEQ_SPECIALS,
        build=_xlm_roberta,
        template=_start_and_end,
        ends=("bos_token", "eos_token"),
        switches=SPACES,
    ),
    "CamembertTokenizer": Pipeline(
        model=models.Unigram,
        specials=FAIRSEQ_SPECIALS,
        build=_camembert,
        template=_start_and_end,
        ends=("bos_token", "eos_token"),
        strips_before_mask=True,
        switches=SPACES,
    ),
    "AlbertTokenizer": Pipeline(
        model=models.Unigram,
        specials={**BERT_SPECIALS, **ENDS, "unk_token": "<unk>", "pad_token": "<pad>"},
        build=_albert,
        template=_cls_and_sep,
        own_template=False,
        switches=(*SPACES, "do_lower_case", "keep_accents"),
    ),
    "DebertaV2Tokenizer": Pipeline(
        model=models.Unigram,
        specials={**BERT_SPECIALS, **ENDS},
        build=_deberta_v2,
        template=_cls_and_sep,
        switches=(*SPACES, "do_lower_case", "split_by_punct"),
    ),
}
