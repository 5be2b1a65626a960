"""Texts for calibration: the built-in text, warnings about other texts, and samples of many lengths."""

from __future__ import annotations

from dataclasses import replace
from importlib import resources
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bertedge.data.batches import Walk
from bertedge.data.corpus import TokenizedCorpus
from bertedge.data.coverage import Draw, read_by
from bertedge.data.pairs import Pair, sentence_pairs
from bertedge.data.singles import single_texts
from bertedge.errors import CorpusError, FileError
from bertedge.tokenizer import Tokenizer

ENGLISH = "en.txt"
#: Shares of unknown words: from the first on, the text is refused; from the second on, there is a warning.
MOST_UNKNOWN, MANY_UNKNOWN = 0.5, 0.1
#: Share of tokens that continue a word. With BERT's English vocabulary it is 0.04 in English, and 0.42 or more in
#: French, Spanish, German, Finnish and Russian sentences.
MANY_BROKEN = 0.35
#: Part of the seed for single texts; and number of texts in a walk from which each single text is drawn.
SINGLES, DRAWN_FROM = 1, 16
#: Below this number of tokens there is a warning.
FEW_TOKENS = 1000
#: A warning is given if calibration reads less than this share of its text, or reads the text more often than this.
LITTLE_READ, OFTEN_READ = 0.05, 8
#: Longer documents are divided, in tokens. The longest document of the built-in text has 367.
LONG_DOCUMENT = 512


def default_text() -> Path:
    """``calibration/en.txt``: inside the installed package, or next to the package in a source tree."""
    package = Path(str(resources.files("bertedge")))
    for folder in (package / "calibration", package.parent / "calibration"):
        if (folder / ENGLISH).is_file():
            return folder / ENGLISH
    raise FileError(f"calibration/{ENGLISH} is missing from this installation", "install bertedge again")


def text_warnings(ids: NDArray[np.integer], tokenizer: Tokenizer, name: str) -> tuple[str, ...]:
    """Warnings about a text that does not suit the model of this tokenizer, a sentence each.

    Args:
        ids: its tokens, without special tokens.

    Raises:
        CorpusError: most of its words are unknown to the tokenizer.
    """
    unknown = float((ids == tokenizer.id_of("unk")).mean())
    if unknown > MOST_UNKNOWN:
        raise CorpusError(
            f"{name}: {100 * unknown:.0f} % of its words are unknown to the model's vocabulary",
            "; ".join(("calibrate with text like the model's own: --calibration FILE", *tokenizer.warnings)),
        )
    warnings = []
    if unknown > MANY_UNKNOWN:
        warnings.append(
            f"{name}: {100 * unknown:.0f} % of its words are unknown to the vocabulary; is it in the model's language?"
        )
    broken = float(tokenizer.continuation(tokenizer.vocab_size)[ids].mean())
    if broken > MANY_BROKEN and tokenizer.continuation_prefix:  # without one, tokens may be longer than words
        tokens = 1 / (1 - min(broken, 0.99))
        warnings.append(f"{name}: its words break into {tokens:.1f} tokens on average; is it in the model's language?")
    if len(ids) < FEW_TOKENS:
        warnings.append(
            f"{name}: has {len(ids)} tokens, so ranges may be too narrow for other text; better {FEW_TOKENS} or more"
        )
    return tuple(warnings)


def reading_warnings(corpus: TokenizedCorpus, draw: Draw, name: str) -> tuple[str, ...]:
    """A warning if calibration reads only a small share of its text, or reads the same text many times.

    Args:
        draw: makes the calibration texts from a corpus.
    """
    read, tokens = read_by(corpus, draw), corpus.num_tokens
    share = read.different / max(tokens, 1)
    if share < LITTLE_READ:
        return (f"{name}: calibration reads {read.different:,} of its {tokens:,} tokens ({100 * share:.1f} %)",)
    times = read.drawn / max(read.different, 1)
    if times > OFTEN_READ and tokens >= FEW_TOKENS:  # a shorter text has a warning already
        return (f"{name}: calibration reads it {times:.0f} times; give more text instead of more examples",)
    return ()


def mixed_pairs(
    corpus: TokenizedCorpus, count: int, *, max_length: int, seed: int, walk: Walk = sentence_pairs
) -> list[Pair]:
    """``count`` pairs of many lengths, from a tenth of ``max_length`` up to all of it.

    Pairs are drawn from all parts of the text, in as many walks as needed.

    Args:
        walk: cuts the text into pairs.
    """
    rng = np.random.default_rng(seed)
    parts = corpus.divided(LONG_DOCUMENT)
    pairs: list[Pair] = []
    while len(pairs) < count:
        length = int(rng.integers(max(corpus.template.pair.count + 2, max_length // 10), max_length + 1))
        stream = walk(_drawn_from(corpus, parts, rng), max_length=length, rng=rng)
        pairs.extend(pair for pair, _ in zip(stream, range(4), strict=False))
    return pairs[:count]


def _drawn_from(corpus: TokenizedCorpus, parts: TokenizedCorpus, rng: np.random.Generator) -> TokenizedCorpus:
    """The documents to draw a few pairs from.

    A text that is a single document has been divided into parts. Only one part is chosen, because one document gives
    single texts, and several documents would give pairs.
    """
    if corpus.num_documents > 1 or parts.num_documents == 1:
        return parts
    chosen = np.arange(parts.num_documents) if parts.chosen is None else parts.chosen
    return replace(parts, chosen=rng.choice(chosen, 1))


def mixed_texts(corpus: TokenizedCorpus, count: int, *, max_length: int, seed: int, pairs: Walk | None) -> list[Pair]:
    """``count`` texts of many lengths: single texts only, or pairs and single texts alternately.

    Args:
        max_length: tokens of a text or a pair at most.
        pairs: cuts the text into pairs; None for a model of single texts.
    """
    half = (count + 1) // 2
    of_pairs = mixed_pairs(corpus, half, max_length=max_length, seed=seed, walk=pairs) if pairs else []
    singles = mixed_singles(corpus, count - len(of_pairs), max_length=max_length, seed=seed)
    both = [text for two in zip(of_pairs, singles, strict=False) for text in two]
    return both + of_pairs[len(singles) :] + singles[len(of_pairs) :]


def mixed_singles(corpus: TokenizedCorpus, count: int, *, max_length: int, seed: int) -> list[Pair]:
    """``count`` single texts from all parts of the text; half of them are single lines.

    See :func:`bertedge.data.singles.single_texts`.
    """
    rng = np.random.default_rng([seed, SINGLES])
    parts = corpus.divided(LONG_DOCUMENT)
    texts: list[Pair] = []
    while len(texts) < count:
        walk = single_texts(parts, max_length=max_length, rng=rng, lines=0.5)
        several = list(islice(walk, DRAWN_FROM * count))
        texts += [several[i] for i in rng.permutation(len(several))[: count - len(texts)]]
    return texts
