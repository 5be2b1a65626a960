"""How each ``tokenizer_class`` is read, as the fast tokenizers of ``transformers`` 5 read it.

Also which settings of ``tokenizer_config.json`` count, have no effect, or are not supported.
"""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path
from typing import Any

from bertedge.errors import CheckpointError, FileError
from bertedge.tokenizer_pipelines import PIPELINES, Pipeline

#: Other names of BERT's class, without "Fast" at their end.
BERT_CLASSES = (
    "ConvBertTokenizer",
    "DistilBertTokenizer",
    "ElectraTokenizer",
    "LayoutLMTokenizer",
    "LxmertTokenizer",
    "MobileBertTokenizer",
    "SqueezeBertTokenizer",
)
#: Class, without "Fast" at its end -> its pipeline; None if ``tokenizer.json`` is the tokenizer.
KINDS: dict[str, Pipeline | None] = {
    **PIPELINES,
    **dict.fromkeys(BERT_CLASSES, PIPELINES["BertTokenizer"]),
    **dict.fromkeys(("PreTrainedTokenizer", "PythonBackend", "TokenizersBackend")),
}
#: Files that a class reads if there is no ``tokenizer.json``, by the kind of its vocabulary.
PLAIN_FILES = {"WordPiece": ("vocab.txt",), "BPE": ("vocab.json", "merges.txt")}
#: Vocabularies that only the library sentencepiece reads.
SLOW_FILES = ("sentencepiece.bpe.model", "spiece.model", "spm.model", "tokenizer.model")

_OTHERS = """
Bart Barthez Bartpho BertGeneration BertJapanese Bertweet BigBird BioGpt BlenderbotSmall Blenderbot ByT5 CLIP CTRL
Canine Character Clvp CodeGen CodeLlama Cohere CpmAnt Cpm DPRContextEncoder DPRQuestionEncoder DPRReader Deberta Dia
Esm Esmc FNet FSMT FastSpeech2Conformer Flaubert Funnel GPT2 GPTNeoXJapanese GPTNeoX GPTSw3 Gemma Herbert LED Lasr
LayoutLMv2 LayoutLMv3 LayoutXLM Llama Longformer Luke M2M100 MBart50 MBart MLuke Marian MarkupLM Mecab Mgpstr Mvp MyT5
Nllb Nougat OpenAIGPT PLBart Parakeet Pegasus Perceiver Phobert Pop2Piano ProphetNet Qwen2 Qwen3_5 Rag Reformer
RemBert RoCBert RoFormer SeamlessM4T Siglip2 Siglip Speech2Text SpeechT5 Splinter T5 Tapas Tipsv2 Udop VideoPrism Vits
Wav2Vec2CTC Wav2Vec2PhonemeCTC Whisper Wordpiece XGLM XLM XLNet
"""
#: Classes of ``transformers`` whose own pipeline bertedge does not build; without "Tokenizer". For a class that is in
#: neither table, ``transformers`` reads ``tokenizer.json`` as it is, and so does bertedge.
OTHERS = frozenset(_OTHERS.split())


def pipeline_of(name: str, *, where: Path) -> Pipeline | None:
    """How a folder with this ``tokenizer_class`` is read; None if ``tokenizer.json`` is the tokenizer.

    Args:
        where: the folder, for the message.

    Raises:
        CheckpointError: the class has no fast tokenizer, or one that bertedge does not build.
    """
    plain = name.removesuffix("Fast")
    if plain not in KINDS and plain.removesuffix("Tokenizer") in OTHERS:
        raise CheckpointError(
            f"{where}: tokenizer_class is {name}, which bertedge does not read",
            "if tokenizer.json alone gives the right tokens, set tokenizer_class to PreTrainedTokenizerFast",
        )
    return KINDS.get(plain)


def plain_files(pipeline: Pipeline | None, name: str, where: Path, there: Container[str]) -> tuple[str, ...]:
    """The files to read, for a folder without ``tokenizer.json``.

    Args:
        name: the class.
        there: the names of the folder's files.

    Raises:
        FileError: a file is missing.
        CheckpointError: the class needs a ``tokenizer.json``.
    """
    files = PLAIN_FILES.get(pipeline.model.__name__, ()) if pipeline else ()
    missing = [file for file in files if file not in there]
    if files and not missing:
        return files
    slow = [file for file in SLOW_FILES if file in there]
    if slow:
        raise CheckpointError(
            f"{where}: has {slow[0]} and no tokenizer.json, which bertedge needs",
            "write it with transformers and sentencepiece: AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)",
        )
    if not files and any(file in there for each in PLAIN_FILES.values() for file in each):
        raise CheckpointError(
            f"{where}: tokenizer_class is {name}, which needs a tokenizer.json, and there is none",
            "save the model's tokenizer with save_pretrained, or set tokenizer_class to BertTokenizer for WordPiece",
        )
    raise FileError(
        f"{where}: no tokenizer.json{''.join(f' and no {file}' for file in missing)}, for a {name}",
        "copy the tokenizer's files from the model's source",
    )


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
    for key in sorted({switch for pipeline in PIPELINES.values() for switch in pipeline.switches}):
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
