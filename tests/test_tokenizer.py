"""WordPiece: equal to transformers' on every text, whichever file it is read from."""

from __future__ import annotations

import json
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, pre_tokenizers

from bertedge.errors import (
    BertEdgeError,
    CheckpointError,
    FileError,
    TruncationWarning,
    UnknownTextWarning,
    UsageError,
)
from bertedge.tokenizer import Tokenizer
from bertedge.wordpiece import SPECIAL_TOKENS
from tests.conftest import DOCUMENTS
from tests.templates import template

EXTRA = ["é", "É", "ß", "##ß", "日", "本", "##本", "ﬁ", "🙂", "Cat", "unbelieva", "##bly"]
TEXTS = [
    "The cat sat on the mat.",
    "THE CAT'S   mat,\tand\nthe door!",
    "É é e\u0301 ß ﬁ naïve",
    "日本 in 日本語",
    "hidden [MASK] and [SEP] and [UNK] words, [mask] too",
    "unbelievably 🙂 \u200b\ufeff zero\u00a0width",
    "a" * 150,
    "\x00\x07 control",
    "$ 3.50 #hash @name",
    "a\u2028b",
]
PAIRS = [("It was a warm day.", "Then the cat went to sleep."), ("a", "b [SEP] c"), ("日本", "[MASK]")]
texts = st.text(max_size=30)
#: Most texts of a test are in no language that the tokenizer knows.
pytestmark = pytest.mark.filterwarnings("ignore::bertedge.errors.UnknownTextWarning")


def write_vocab(folder: Path, words: list[str], **settings_: object) -> Path:
    """A folder with ``vocab.txt``, and ``tokenizer_config.json`` where there are settings."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in words), encoding="utf-8")
    if settings_:
        (folder / "tokenizer_config.json").write_text(json.dumps(settings_))
    return folder


@pytest.fixture(scope="module")
def words(tokenizer: Tokenizer) -> list[str]:
    """The pieces in the order of their ids."""
    vocabulary = tokenizer.vocabulary()
    return [*sorted(vocabulary, key=vocabulary.__getitem__), *(word for word in EXTRA if word not in vocabulary)]


@pytest.fixture(scope="module")
def vocab_folder(tmp_path_factory: pytest.TempPathFactory, words: list[str]) -> Path:
    return write_vocab(tmp_path_factory.mktemp("vocab"), words)


@pytest.fixture(scope="module")
def ours(vocab_folder: Path) -> Tokenizer:
    return Tokenizer.load(vocab_folder)


@pytest.fixture(scope="module")
def theirs(vocab_folder: Path) -> Any:
    from transformers import BertTokenizerFast

    return BertTokenizerFast.from_pretrained(vocab_folder)


def assert_equal(ours: Tokenizer, theirs: Any, text: str, pair: str | None = None) -> None:
    mine, other = ours.encode(text, pair), theirs([text if pair is None else (text, pair)])
    assert [mine.input_ids] == other["input_ids"]
    assert [mine.token_type_ids] == other["token_type_ids"]


@pytest.mark.parametrize("text", TEXTS)
def test_texts_as_transformers(ours: Tokenizer, theirs: Any, text: str) -> None:
    assert_equal(ours, theirs, text)


@pytest.mark.parametrize("pair", PAIRS)
def test_pairs_as_transformers(ours: Tokenizer, theirs: Any, pair: tuple[str, str]) -> None:
    assert_equal(ours, theirs, *pair)


@settings(max_examples=150)
@given(texts, st.none() | texts)
def test_any_text_as_transformers(ours: Tokenizer, theirs: Any, text: str, pair: str | None) -> None:
    assert_equal(ours, theirs, text, pair)


@pytest.mark.parametrize(
    "said",
    [
        {"do_lower_case": False},
        {"do_lower_case": True, "strip_accents": False},
        {"do_lower_case": False, "strip_accents": True},
        {"tokenize_chinese_chars": False},
    ],
    ids=str,
)
def test_settings_beside_a_vocabulary_are_kept(tmp_path: Path, words: list[str], said: dict) -> None:
    from transformers import BertTokenizerFast

    folder = write_vocab(tmp_path, words, **said)
    tokenizer, other = Tokenizer.load(folder), BertTokenizerFast.from_pretrained(folder)
    for text in TEXTS:
        assert_equal(tokenizer, other, text)


def test_casing_is_what_the_settings_say(tmp_path: Path, words: list[str]) -> None:
    cased = Tokenizer.load(write_vocab(tmp_path / "cased", words, do_lower_case=False))
    uncased = Tokenizer.load(write_vocab(tmp_path / "uncased", words))
    assert cased.token_ids("Cat") == [words.index("Cat")]
    assert cased.token_ids("É") == [words.index("É")]
    assert uncased.token_ids("Cat") == uncased.token_ids("cat")
    assert uncased.token_ids("É") == uncased.token_ids("e")


def test_line_numbers_are_ids(ours: Tokenizer, words: list[str]) -> None:
    assert [ours.token(index) for index in range(ours.vocab_size)] == words


def test_ids_ascend_and_are_named_once(ours: Tokenizer, words: list[str]) -> None:
    assert ours.ids.tolist() == sorted(set(ours.vocabulary().values()))
    assert ours.vocab_size == max(ours.vocabulary().values()) + 1


def test_windows_line_ends(tmp_path: Path, words: list[str], ours: Tokenizer) -> None:
    (tmp_path / "vocab.txt").write_bytes("\r\n".join(words).encode())
    assert Tokenizer.load(tmp_path).vocabulary() == ours.vocabulary()


def test_segments_and_specials(ours: Tokenizer) -> None:
    cls, sep = ours.id_of("cls"), ours.id_of("sep")
    the, cat = ours.token_ids("the"), ours.token_ids("cat")
    encoding = ours.encode("the", "cat")
    assert encoding.input_ids == [cls, *the, sep, *cat, sep]
    assert encoding.token_type_ids == [0] * (len(the) + 2) + [1] * (len(cat) + 1)
    assert ours.template == template(cls, sep)
    assert not encoding.truncated


def test_both_files_give_the_same_tokenizer(tmp_path: Path, ours: Tokenizer) -> None:
    ours.save(tmp_path)
    read = Tokenizer.load(tmp_path)
    assert read.vocabulary() == ours.vocabulary()
    assert [read.encode(text) for text in TEXTS] == [ours.encode(text) for text in TEXTS]
    assert [read.encode(*pair) for pair in PAIRS] == [ours.encode(*pair) for pair in PAIRS]


def test_the_json_file_is_preferred(tmp_path: Path, ours: Tokenizer) -> None:
    ours.save(tmp_path)
    write_vocab(tmp_path, ["[UNK]"])
    assert Tokenizer.load(tmp_path).vocab_size == ours.vocab_size


@pytest.mark.parametrize("lowercase", [True, False])
def test_transformers_loads_what_is_saved(tmp_path: Path, lowercase: bool) -> None:
    from transformers import AutoTokenizer

    lines = [sentence for document in DOCUMENTS for sentence in document]
    tokenizer = Tokenizer.train(lines * 4, vocab_size=200, lowercase=lowercase, max_length=40)
    tokenizer.save(tmp_path)
    other = AutoTokenizer.from_pretrained(tmp_path)
    assert other.model_max_length == 40
    assert other.mask_token_id == tokenizer.id_of("mask")
    for text in ("The cat sat on THE mat.", "É é", "a [MASK] b"):
        assert_equal(tokenizer, other, text)
    assert (tokenizer.token_ids("THE") == tokenizer.token_ids("the")) is lowercase


def test_no_truncation_and_no_padding_are_saved(tmp_path: Path, tokenizer: Tokenizer) -> None:
    tokenizer.save(tmp_path)
    saved = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    assert saved["truncation"] is None
    assert saved["padding"] is None
    with pytest.warns(TruncationWarning):  # saving left the limit in place here
        tokenizer.encode("the cat " * 64)


def test_another_tools_truncation_and_padding_are_not_ours(tmp_path: Path, ours: Tokenizer) -> None:
    import tokenizers

    ours.save(tmp_path)
    backend = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    backend.enable_truncation(4)
    backend.enable_padding(length=32)
    backend.save(str(tmp_path / "tokenizer.json"))
    assert Tokenizer.load(tmp_path).encode(TEXTS[0]) == ours.encode(TEXTS[0])


def test_truncation_warns_with_the_count(vocab_folder: Path) -> None:
    short = Tokenizer.load(vocab_folder, max_length=8)
    fits, long = "the cat sat", "the cat sat on the mat and went to sleep"
    with pytest.warns(TruncationWarning, match="2 of 3 texts had more than 8 tokens"):
        encodings = short.encode_many([long, fits, (fits, long)])
    assert [encoding.truncated for encoding in encodings] == [True, False, True]
    assert [len(encoding.input_ids) for encoding in encodings][::2] == [8, 8]
    assert all(encoding.input_ids[-1] == short.id_of("sep") for encoding in encodings)


def test_a_text_that_fits_exactly_is_whole(vocab_folder: Path, ours: Tokenizer) -> None:
    length = len(ours.encode(TEXTS[0]).input_ids)
    assert Tokenizer.load(vocab_folder, max_length=length).encode(TEXTS[0]) == ours.encode(TEXTS[0])


@settings(max_examples=60)
@given(st.integers(5, 20), texts, st.none() | texts)
def test_never_longer_than_the_limit(vocab_folder: Path, length: int, text: str, pair: str | None) -> None:
    tokenizer = Tokenizer.load(vocab_folder, max_length=length)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)
        encoding = tokenizer.encode(text, pair)
    assert len(encoding.input_ids) == len(encoding.token_type_ids) <= length
    whole = len(tokenizer.token_ids(text)) + (0 if pair is None else len(tokenizer.token_ids(pair)) + 1) + 2
    assert encoding.truncated is (whole > length)


def test_pieces_know_no_limit(vocab_folder: Path) -> None:
    tokenizer = Tokenizer.load(vocab_folder, max_length=8)
    assert len(tokenizer.token_ids("cat " * 100)) == 100 * len(tokenizer.token_ids("cat"))
    assert tokenizer.token_ids_many(["the", "cat"]) == [tokenizer.token_ids("the"), tokenizer.token_ids("cat")]
    with pytest.warns(TruncationWarning):
        tokenizer.encode("cat " * 100)


@pytest.mark.parametrize("text", ["", " ", "\t\n"])
def test_an_empty_text_is_a_text(ours: Tokenizer, text: str) -> None:
    cls, sep = ours.id_of("cls"), ours.id_of("sep")
    fine, empty, pair = ours.encode_many(["fine", text, ("a", text)])
    assert fine == ours.encode("fine")
    assert empty.input_ids == [cls, sep]
    assert pair.input_ids == [cls, *ours.token_ids("a"), sep, sep]
    assert not empty.truncated


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "the text at index 2 is None"),
        (float("nan"), r"the text at index 2 is nan \(float\)"),
        (b"caf\xc3\xa9", r"the text at index 2 is b'caf.* \(bytes\)"),
        (3, r"the text at index 2 is 3 \(int\)"),
        (("a", None), "the second text at index 2 is None"),
        ((np.nan, "a"), "the first text at index 2 is nan"),
        (("a", "b", "c"), r"the text at index 2 is \('a', 'b', 'c'\) \(tuple\)"),
        ("x" + b"\xff".decode("utf-8", errors="surrogateescape"), "the text at index 2 is not Unicode"),
    ],
)
def test_what_is_no_text_is_named_with_its_index(ours: Tokenizer, text: Any, told: str) -> None:
    with pytest.raises(UsageError, match=told) as caught:
        ours.encode_many(["fine", "", text])
    assert len(str(caught.value).splitlines()) == 2


def test_any_iterable_of_texts(ours: Tokenizer) -> None:
    texts_ = ["the cat", "", "a door"]
    expected = ours.encode_many(texts_)
    for given_ in (iter(texts_), (text for text in texts_), np.array(texts_), np.array(texts_, dtype=object)):
        assert ours.encode_many(given_) == expected


@pytest.mark.parametrize(
    ("texts_", "told"),
    [
        (["☃☃ ☃"], "the text has no word"),
        (["the cat", "☃", "", "☃ ☃"], r"2 of 4 texts \(index 1, 3\) have no word"),
        ([("the cat", "☃")], "the text has no word"),
        (["☃ [MASK]"], "no word"),
    ],
)
def test_a_text_of_unknown_words_is_told(ours: Tokenizer, texts_: list, told: str) -> None:
    with pytest.warns(UnknownTextWarning, match=told):
        ours.encode_many(texts_)


def test_a_text_with_a_known_word_is_not_told(ours: Tokenizer) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours.encode_many(["the ☃", "", "[MASK]", ("the", "☃ cat"), "[SEP] [PAD]"])


def test_threads_do_not_change_each_others_lengths(vocab_folder: Path) -> None:
    """Counting tokens without a limit in one thread, and hashing, leaves the limit of the others alone."""
    tokenizer = Tokenizer.load(vocab_folder, max_length=8)
    long, stop, wrong = "the cat " * 200, threading.Event(), []

    def read_whole() -> None:
        while not stop.is_set():
            if len(tokenizer.token_ids(long)) < 400 or not tokenizer.sha256:
                wrong.append("cut")

    others = [threading.Thread(target=read_whole)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)
        for other in others:
            other.start()
        for _ in range(100):
            wrong += [len(e.input_ids) for e in tokenizer.encode_many([long, "the cat"]) if len(e.input_ids) > 8]
        stop.set()
        for other in others:
            other.join()
    assert not wrong


def test_the_hash_tells_apart_what_reads_texts_in_another_way(ours: Tokenizer) -> None:
    """The side on which long texts are cut, and the token that stands for a hidden word."""
    left = ours._changed(tokenizers.Tokenizer.from_str(ours._json), truncation_side="left")
    mask = ours._changed(tokenizers.Tokenizer.from_str(ours._json), special={**ours.special, "mask": "[SEP]"})
    assert len({one.sha256 for one in (ours, left, mask)}) == 3


def test_nothing_changes_the_backend(vocab_folder: Path, tmp_path: Path) -> None:
    tokenizer = Tokenizer.load(vocab_folder, max_length=8)
    before = tokenizer._backend.to_str()
    assert tokenizer._backend.truncation["max_length"] == 8
    tokenizer.token_ids_many(["the cat " * 9])
    tokenizer.save(tmp_path)
    assert tokenizer.sha256 == tokenizer.with_max_length(30).sha256
    tokenizer.recased(True).token_ids("The Cat")
    assert tokenizer.bare is tokenizer.bare is not tokenizer._backend
    assert tokenizer._backend.to_str() == before


def test_bytes_that_are_no_text_are_refused(ours: Tokenizer) -> None:
    with pytest.raises(UsageError, match="not Unicode"):
        ours.encode(b"caf\xe9".decode("utf-8", errors="surrogateescape"))


def test_one_refusal_does_not_hold_on_to_another(ours: Tokenizer) -> None:
    caught = []
    for _ in range(2):
        with pytest.raises(UsageError) as error:
            ours.encode(None)  # type: ignore[arg-type]
        caught.append(error.value)
    assert caught[0] is not caught[1]


def test_no_texts_no_encodings(ours: Tokenizer) -> None:
    assert ours.encode_many([]) == []


def test_decoding_joins_the_pieces(ours: Tokenizer) -> None:
    ids = ours.encode("unbelievably").input_ids
    assert ours.decode(ids) == "unbelievably"
    assert ours.decode(ids, skip_special=False) == "[CLS] unbelievably [SEP]"


def test_an_id_beyond_the_vocabulary_is_unknown(ours: Tokenizer) -> None:
    assert ours.token(10**6) == "[UNK]"


def test_training_has_the_five_specials_first(tokenizer: Tokenizer) -> None:
    assert [tokenizer.id_of(role) for role in SPECIAL_TOKENS] == [0, 1, 2, 3, 4]
    assert tokenizer.mask_token == "[MASK]"
    assert tokenizer.vocab_size <= 300
    assert len(tokenizer.token_ids("the cat")) == 2


def test_training_is_repeatable() -> None:
    lines = [sentence for document in DOCUMENTS for sentence in document]
    first, second = (Tokenizer.train(lines, vocab_size=150).vocabulary() for _ in range(2))
    assert first == second


@pytest.mark.parametrize("role", [role for role in SPECIAL_TOKENS if role != "unk"])
def test_a_missing_special_is_new_and_told(tmp_path: Path, words: list[str], role: str) -> None:
    token = SPECIAL_TOKENS[role]
    tokenizer = Tokenizer.load(write_vocab(tmp_path, [word for word in words if word != token]))
    assert tokenizer.id_of(role) == len(words) - 1
    assert any(repr(token) in told for told in tokenizer.warnings)


@pytest.mark.parametrize("wrapped", [False, True])
def test_specials_of_another_name(tmp_path: Path, words: list[str], wrapped: bool) -> None:
    renamed = {token: f"<{role}>" for role, token in SPECIAL_TOKENS.items()}
    names = {
        f"{role}_token": {"content": f"<{role}>", "lstrip": False} if wrapped else f"<{role}>"
        for role in SPECIAL_TOKENS
    }
    tokenizer = Tokenizer.load(write_vocab(tmp_path, [renamed.get(word, word) for word in words], **names))
    assert tokenizer.mask_token == "<mask>"
    ids = [tokenizer.id_of(role) for role in ("cls", "mask", "unk", "sep")]
    assert tokenizer.encode("<mask> ☃").input_ids == ids
    tokenizer.save(tmp_path)
    assert Tokenizer.load(tmp_path).encode("<mask> ☃").input_ids == ids


@pytest.mark.parametrize("garbage", [3, True, [], ["[MASK]"], {}, {"content": 5}, None, ""], ids=repr)
def test_settings_that_say_nothing_are_passed_over(tmp_path: Path, words: list[str], garbage: object) -> None:
    assert Tokenizer.load(write_vocab(tmp_path, words, mask_token=garbage)).mask_token == "[MASK]"


def test_a_folder_without_a_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"no tokenizer\.json and no vocab\.txt"):
        Tokenizer.load(tmp_path)


@pytest.mark.parametrize("data", [b"", b"{", b"{}", b"[]", b"\xff", b'{"version": "1.0", "model": {"type": "Word"}}'])
def test_a_broken_json_file_is_named(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "tokenizer.json").write_bytes(data)
    with pytest.raises(FileError, match=r"tokenizer\.json: is not a tokenizer"):
        Tokenizer.load(tmp_path)


def test_a_template_with_an_id_beyond_the_vocabulary(tmp_path: Path, ours: Tokenizer) -> None:
    ours.save(tmp_path)
    raw = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    raw["post_processor"]["special_tokens"]["[CLS]"]["ids"] = [99999]
    (tmp_path / "tokenizer.json").write_text(json.dumps(raw))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
    with pytest.raises(CheckpointError, match="template has the id 99999, but its vocabulary ends at"):
        Tokenizer.load(tmp_path)


def test_a_template_that_would_panic_is_named(tmp_path: Path, ours: Tokenizer) -> None:
    ours.save(tmp_path)
    raw = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    del raw["post_processor"]["special_tokens"]["[CLS]"]
    (tmp_path / "tokenizer.json").write_text(json.dumps(raw))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
    with pytest.raises(FileError, match=r"template does not define \[CLS\]"):
        Tokenizer.load(tmp_path)


def test_broken_settings_are_named(tmp_path: Path, words: list[str]) -> None:
    write_vocab(tmp_path, words)
    (tmp_path / "tokenizer_config.json").write_text("{")
    with pytest.raises(FileError, match=r"tokenizer_config\.json: is not JSON"):
        Tokenizer.load(tmp_path)


@pytest.mark.parametrize(("data", "words_"), [(b"\xff\n", "UTF-8"), (b"", "WordPiece"), (b"the\ncat\n", "WordPiece")])
def test_a_broken_vocabulary_is_named(tmp_path: Path, data: bytes, words_: str) -> None:
    (tmp_path / "vocab.txt").write_bytes(data)
    with pytest.raises(FileError, match=rf"vocab\.txt.*{words_}"):
        Tokenizer.load(tmp_path)


@settings(max_examples=40)
@given(data=st.data())
def test_a_cut_off_json_file(tmp_path_factory: pytest.TempPathFactory, model_folder: Path, data: st.DataObject) -> None:
    whole = (model_folder / "tokenizer.json").read_bytes()
    folder = tmp_path_factory.mktemp("cut")
    (folder / "tokenizer.json").write_bytes(whole[: data.draw(st.integers(0, len(whole) - 2))])
    with pytest.raises(BertEdgeError):
        Tokenizer.load(folder)


def test_a_large_alphabet_stays_within_the_vocabulary() -> None:
    lines = [chr(0x4E00 + i) + chr(0x4E00 + i // 7) for i in range(500)]
    assert Tokenizer.train(lines, vocab_size=200, max_length=16).vocab_size <= 200


def test_a_word_that_the_library_cannot_encode() -> None:
    backend = tokenizers.Tokenizer(models.WordPiece({"[PAD]": 0, "[CLS]": 1, "[SEP]": 2, "[MASK]": 3, "a": 4}))
    tokenizer = Tokenizer(backend, max_length=8)
    assert tokenizer.token_ids("a") == [4]
    for encode in (tokenizer.encode, tokenizer.token_ids):
        with pytest.raises(CheckpointError, match="cannot encode this text .*UNK"):
            encode("b")


SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def word_pieces() -> tokenizers.Tokenizer:
    return tokenizers.Tokenizer(models.WordPiece(vocabulary("a", "b", "##b", "##"), unk_token="[UNK]"))


def byte_level() -> tokenizers.Tokenizer:
    backend = tokenizers.Tokenizer(models.BPE(vocabulary("a", "\u0120a", "b", "\u0120b"), []))
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.ByteLevel(), decoders.ByteLevel()
    return backend


def metaspace() -> tokenizers.Tokenizer:
    pieces = [(token, -1.0) for token in vocabulary("a", "\u2581a", "b", "\u2581b")]
    backend = tokenizers.Tokenizer(models.Unigram(pieces, unk_id=1))
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    return backend


def vocabulary(*tokens: str) -> dict[str, int]:
    return {token: index for index, token in enumerate((*SPECIALS, *tokens))}


@pytest.mark.parametrize(
    ("backend", "inside"),
    [(word_pieces(), {"##b", "##"}), (byte_level(), {"a", "b"}), (metaspace(), {"a", "b"})],
    ids=["WordPiece", "byte-level BPE", "Unigram"],
)
def test_tokens_inside_words(backend: tokenizers.Tokenizer, inside: set[str]) -> None:
    """A prefix tells, or the decoder does."""
    backend.add_special_tokens([*SPECIALS])
    tokenizer = Tokenizer(backend, max_length=8)
    flags = tokenizer.continuation(tokenizer.vocab_size)
    assert {token for token, index in tokenizer.vocabulary().items() if flags[index]} == inside
