"""How each ``tokenizer_class`` is read, as the fast tokenizers of ``transformers`` 5 read it.

Also which settings of ``tokenizer_config.json`` count, have no effect, or are not supported.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from bertedge.errors import CheckpointError

#: ``bert`` and ``xlm_roberta``: the class builds its own pipeline and takes the vocabulary only from
#: ``tokenizer.json``. ``as_is``: ``tokenizer.json`` is the tokenizer.
Kind = Literal["bert", "xlm_roberta", "as_is"]

#: The special tokens of a class if the files do not name them.
DEFAULT_SPECIALS: dict[Kind, dict[str, str]] = {
    "bert": {
        "unk_token": "[UNK]",
        "sep_token": "[SEP]",
        "pad_token": "[PAD]",
        "cls_token": "[CLS]",
        "mask_token": "[MASK]",
    },
    "xlm_roberta": {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "sep_token": "</s>",
        "pad_token": "<pad>",
        "cls_token": "<s>",
        "mask_token": "<mask>",
    },
    "as_is": {},
}

#: Class, without "Fast" at its end -> how it is read.
KINDS: dict[str, Kind] = {
    **dict.fromkeys(
        (
            "BertTokenizer",
            "ConvBertTokenizer",
            "DistilBertTokenizer",
            "ElectraTokenizer",
            "LayoutLMTokenizer",
            "LxmertTokenizer",
            "MobileBertTokenizer",
            "SqueezeBertTokenizer",
        ),
        "bert",
    ),
    **dict.fromkeys(("PreTrainedTokenizer", "PythonBackend", "TokenizersBackend"), "as_is"),
    "XLMRobertaTokenizer": "xlm_roberta",
}

#: Settings of ``tokenizer_config.json`` about the text, and their defaults.
SWITCHES: dict[str, bool | None] = {"do_lower_case": True, "strip_accents": None, "tokenize_chinese_chars": True}

_OTHERS = """
Albert Bart Barthez Bartpho BertGeneration BertJapanese Bertweet BigBird BioGpt BlenderbotSmall Blenderbot ByT5
CLIP CTRL Camembert Canine Character Clvp CodeGen CodeLlama Cohere CpmAnt Cpm DPRContextEncoder
DPRQuestionEncoder DPRReader Deberta DebertaV2 Dia Esm Esmc FNet FSMT FastSpeech2Conformer Flaubert Funnel GPT2
GPTNeoXJapanese GPTNeoX GPTSw3 Gemma Herbert LED Lasr LayoutLMv2 LayoutLMv3 LayoutXLM Llama Longformer Luke
M2M100 MBart50 MBart MLuke MPNet Marian MarkupLM Mecab Mgpstr Mvp MyT5 Nllb Nougat OpenAIGPT PLBart Parakeet
Pegasus Perceiver Phobert Pop2Piano ProphetNet Qwen2 Qwen3_5 Rag Reformer RemBert RoCBert RoFormer Roberta
SeamlessM4T Siglip2 Siglip Speech2Text SpeechT5 Splinter T5 Tapas Tipsv2 Udop VideoPrism Vits Wav2Vec2CTC
Wav2Vec2PhonemeCTC Whisper Wordpiece XGLM XLM XLNet
"""
#: Classes of ``transformers`` whose own pipeline bertedge does not build; without "Tokenizer". For a class that is in
#: neither table, ``transformers`` reads ``tokenizer.json`` as it is, and so does bertedge.
OTHERS = frozenset(_OTHERS.split())


def kind_of(name: str | None, *, where: str, has_json: bool) -> Kind:
    """How a folder with this ``tokenizer_class`` is read.

    Args:
        name: None if no file names one.
        where: the folder, for the message.
        has_json: whether ``tokenizer.json`` is there.

    Raises:
        CheckpointError: the class has no fast tokenizer, or one that bertedge does not build.
    """
    plain = "BertTokenizer" if name is None else name.removesuffix("Fast")
    kind = KINDS.get(plain, "as_is")
    if plain.removesuffix("Tokenizer") in OTHERS and plain not in KINDS:
        raise CheckpointError(
            f"{where}: tokenizer_class is {name}, which bertedge does not read",
            "if tokenizer.json alone gives the right tokens, set tokenizer_class to PreTrainedTokenizerFast",
        )
    if kind != "bert" and not has_json:
        raise CheckpointError(
            f"{where}: tokenizer_class is {name}, which needs a tokenizer.json, and there is none",
            "save the model's tokenizer with save_pretrained, or set tokenizer_class to BertTokenizer for WordPiece",
        )
    return kind


def ignored(settings: dict[str, Any]) -> list[str]:
    """Warnings about settings that only the slow tokenizers of ``transformers`` use."""
    names = ["do_basic_tokenize"] if settings.get("do_basic_tokenize") is False else []
    names += ["never_split"] if settings.get("never_split") else []
    return [
        f"tokenizer_config.json: {name} has no effect in bertedge, as in the fast tokenizers of transformers"
        for name in names
    ]


def require_known(file: Path, settings: dict[str, Any]) -> None:
    """Refuse settings that are not supported.

    Args:
        file: where they are, for the message.

    Raises:
        CheckpointError: names the setting.
    """
    for key in SWITCHES:
        value = settings.get(key)
        if value is not None and not isinstance(value, bool):
            raise CheckpointError(f"{file}: {key} is {value!r:.60}, expected true or false", "correct the file")
    if settings.get("split_special_tokens"):
        raise CheckpointError(
            f"{file}: split_special_tokens is true, so a [MASK] in a text would be no [MASK]", "set it to false"
        )
    versions = settings.get("fast_tokenizer_files")
    if versions not in (None, [], ["tokenizer.json"]):
        raise CheckpointError(
            f"{file}: fast_tokenizer_files lists {versions!r:.60}, and bertedge does not choose among them",
            "keep the right one as tokenizer.json, and remove the entry",
        )
    if settings.get("truncation_side") not in (None, "left", "right"):
        raise CheckpointError(f"{file}: truncation_side is neither left nor right", "correct the file")
