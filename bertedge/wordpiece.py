"""WordPiece tokenizers of the ``tokenizers`` library, with BERT's pipeline: read, learned and changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from bertedge.errors import FileError
from bertedge.files import FRESH_COPY

#: Unicode's White_Space. Python's ``strip`` also removes control characters such as U+001C.
WHITE_SPACE = "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"
SPECIAL_TOKENS = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}


def read_vocab(path: Path) -> dict[str, int]:
    """The lines of ``vocab.txt``. The line number is the id; of equal lines, the last one counts.

    As in the ``tokenizers`` library, white space at the end of a line is dropped, so a blank line is an empty token. No
    text contains it.

    Raises:
        FileError: it cannot be read, or is not UTF-8.
    """
    try:
        with open(path, encoding="utf-8", newline="\n") as file:
            return {line.rstrip(WHITE_SPACE): index for index, line in enumerate(file)}
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"{path}: cannot be read as UTF-8 text ({error})", FRESH_COPY) from error


def learn(lines: Iterable[str], *, vocab_size: int, lowercase: bool) -> tokenizers.Tokenizer:
    """Learn a vocabulary of at most ``vocab_size`` tokens from lines of text. The same lines give the same tokens.

    The library numbers the letters inside words in the order of a random hash, and breaks ties by these numbers, so two
    runs would differ. Here they are listed in advance as special tokens, in order, so there are no ties to break.

    Args:
        lines: read twice; an iterator can be read once only, so its lines are first collected in memory.
    """
    texts = list(lines) if isinstance(lines, Iterator) else lines
    learner = bert_pipeline(models.WordPiece(unk_token=SPECIAL_TOKENS["unk"]), lowercase=lowercase)
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
    backend = bert_pipeline(models.WordPiece(learner.get_vocab(), unk_token=SPECIAL_TOKENS["unk"]), lowercase=lowercase)
    backend.add_special_tokens(specials)
    backend.post_processor = bert_template(backend, SPECIAL_TOKENS["cls"], SPECIAL_TOKENS["sep"])
    return backend


def bert_pipeline(
    model: models.WordPiece, *, lowercase: bool, strip_accents: bool | None = None, chinese: bool = True
) -> tokenizers.Tokenizer:
    """BERT's text pipeline around a WordPiece model.

    Args:
        strip_accents: None: the same as ``lowercase``.
        chinese: whether every Chinese character is a word.
    """
    backend = tokenizers.Tokenizer(model)
    backend.normalizer = normalizers.BertNormalizer(
        lowercase=lowercase, strip_accents=strip_accents, handle_chinese_chars=chinese
    )
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


def bert_template(backend: tokenizers.Tokenizer, cls: str, sep: str) -> processors.PostProcessor:
    """``[CLS] A [SEP]`` with segment 0, ``[CLS] A [SEP] B [SEP]`` with segments 0 and 1."""
    specials = [(token, backend.token_to_id(token)) for token in (cls, sep)]
    return processors.TemplateProcessing(
        single=f"{cls} $A {sep}", pair=f"{cls} $A {sep} $B:1 {sep}:1", special_tokens=specials
    )


def read_merges(path: Path) -> list[str]:
    """The lines of ``merges.txt``: two tokens that become one, the most frequent pair first.

    Raises:
        FileError: it cannot be read, or a line is not a pair.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"{path}: cannot be read as UTF-8 text ({error})", FRESH_COPY) from error
    merges = [line.rstrip("\r") for line in lines if line.strip() and not line.startswith("#version")]
    for number, merge in enumerate(merges, start=1):
        if len(merge.split(" ")) != 2:
            raise FileError(f"{path}: merge {number} is {merge[:60]!r}, expected two tokens", FRESH_COPY)
    return merges
