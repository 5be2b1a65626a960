"""WordPiece tokenizers of the ``tokenizers`` library: BERT's pipeline around a vocabulary, read or learned."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from bertedge.errors import CheckpointError, FileError

SPECIAL_TOKENS = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}


def from_vocab(path: Path, settings: dict[str, Any], special: dict[str, str]) -> tokenizers.Tokenizer:
    """BERT's WordPiece over the lines of ``vocab.txt``; the line number is the id."""
    special = {**SPECIAL_TOKENS, **special}
    try:
        with open(path, encoding="utf-8") as file:
            # not splitlines(), which takes U+2028 for the end of a line where it is a piece
            words = [line.rstrip("\n") for line in file]
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"{path}: cannot be read as UTF-8 text ({error})", "take a fresh copy") from error
    vocab = {word: index for index, word in enumerate(words)}
    if special["unk"] not in vocab:
        raise FileError(f"{path}: no line is {special['unk']}, so it is no WordPiece vocabulary", "take a fresh copy")
    backend = _wordpiece(models.WordPiece(vocab, unk_token=special["unk"]), bool(settings.get("do_lower_case", True)))
    accents = settings.get("strip_accents")  # where it is not said, BERT strips them when it lowercases
    backend.normalizer.strip_accents = accents if isinstance(accents, bool) else None
    backend.normalizer.handle_chinese_chars = bool(settings.get("tokenize_chinese_chars", True))
    backend.add_special_tokens([t for t in special.values() if t in vocab])
    if special["cls"] in vocab and special["sep"] in vocab:
        _add_template(backend, special["cls"], special["sep"])
    return backend


def learn(lines: Iterable[str], *, vocab_size: int, lowercase: bool) -> tokenizers.Tokenizer:
    """Learn a vocabulary of at most ``vocab_size`` pieces from lines of text; the same lines, the same pieces.

    The library numbers the pieces inside words in the order of a random hash and breaks ties by these numbers, so
    two runs would differ. Naming them beforehand, in order, as if they were special, leaves it nothing to choose.

    Args:
        lines: read twice; an iterator, which can be read once only, is first gathered in memory.
    """
    texts = list(lines) if isinstance(lines, Iterator) else lines
    learner = _wordpiece(models.WordPiece(unk_token=SPECIAL_TOKENS["unk"]), lowercase)
    specials = list(SPECIAL_TOKENS.values())
    letters = _frequent_letters(learner, texts, (vocab_size - len(specials)) // 2)
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        special_tokens=[*specials, *(f"##{letter}" for letter in letters)],
        initial_alphabet=letters,
        limit_alphabet=len(letters),
        show_progress=False,
    )
    learner.train_from_iterator(texts, trainer)
    backend = _wordpiece(models.WordPiece(learner.get_vocab(), unk_token=SPECIAL_TOKENS["unk"]), lowercase)
    backend.add_special_tokens(specials)
    _add_template(backend)
    return backend


def trimmed(serialized: str, ids: dict[str, int]) -> tokenizers.Tokenizer:
    """A serialized tokenizer with the pieces of ``ids`` only, under these ids.

    Raises:
        CheckpointError: it is no WordPiece tokenizer.
    """
    raw = json.loads(serialized)
    if raw["model"].get("type") != "WordPiece":
        raise CheckpointError(
            f"the tokenizer is {raw['model'].get('type')}, only WordPiece can be trimmed", "keep its vocabulary"
        )
    raw["model"]["vocab"] = {piece: ids[piece] for piece in raw["model"]["vocab"] if piece in ids}
    for token in raw.get("added_tokens", ()):
        token["id"] = ids[token["content"]]
    _renumber(raw.get("post_processor") or {}, ids)
    return tokenizers.Tokenizer.from_str(json.dumps(raw))


def lowercased(serialized: str) -> tokenizers.Tokenizer:
    """A serialized tokenizer that lower-cases texts before all else; accents stay if they stayed before."""
    raw = json.loads(serialized)
    normalizer = raw.get("normalizer")
    if isinstance(normalizer, dict) and normalizer.get("type") == "BertNormalizer":
        if not normalizer.get("lowercase"):
            # unless it is told otherwise, this normalizer strips accents when it lower-cases
            accents = normalizer.get("strip_accents")
            raw["normalizer"] = {**normalizer, "lowercase": True, "strip_accents": bool(accents)}
    else:
        steps = [normalizer] if normalizer else []
        raw["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "Lowercase"}, *steps]}
    return tokenizers.Tokenizer.from_str(json.dumps(raw))


def _renumber(processor: dict[str, Any], ids: dict[str, int]) -> None:
    """Give a post-processor's special tokens, in each of the library's ways to write them, their new ids."""
    for token in (processor.get("special_tokens") or {}).values():
        token["ids"] = [ids[piece] for piece in token["tokens"]]
    for role in ("cls", "sep"):
        if role in processor:
            processor[role] = [processor[role][0], ids[processor[role][0]]]
    for inner in processor.get("processors", ()):
        _renumber(inner, ids)


def _wordpiece(model: models.WordPiece, lowercase: bool) -> tokenizers.Tokenizer:
    """BERT's text pipeline around a WordPiece model."""
    backend = tokenizers.Tokenizer(model)
    backend.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    return backend


def _frequent_letters(backend: tokenizers.Tokenizer, texts: Iterable[str], limit: int) -> list[str]:
    """The ``limit`` most frequent characters of the normalized texts, in alphabetical order."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(backend.normalizer.normalize_str(text))
    counts.pop(" ", None)
    return sorted(sorted(counts, key=lambda letter: (-counts[letter], letter))[: max(limit, 0)])


def _add_template(backend: tokenizers.Tokenizer, cls: str = "[CLS]", sep: str = "[SEP]") -> None:
    """``[CLS] A [SEP]`` with segment 0, ``[CLS] A [SEP] B [SEP]`` with segments 0 and 1."""
    specials = [(token, backend.token_to_id(token)) for token in (cls, sep)]
    backend.post_processor = processors.TemplateProcessing(
        single=f"{cls} $A {sep}", pair=f"{cls} $A {sep} $B:1 {sep}:1", special_tokens=specials
    )
