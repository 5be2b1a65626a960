"""From what a user types to a folder."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from bertedge.checkpoint import BUILT_IN, locate, open_checkpoint
from bertedge.checkpoint.locate import HUB_FILES, MODELS
from bertedge.checkpoint.named_classifiers import HEADS_FILE
from bertedge.encoders import CONFIG_FILES
from bertedge.errors import FileError
from bertedge.tokenizer_classes import PLAIN_FILES
from tests.embedders import DENSE, NORMALIZE, TRANSFORMER, embedder_folder, pooling

HUB_ID = "someone/small-bert"
#: A name that the hub has had from the start, without an owner.
OLD_ID = "bert-base-uncased"


def hub_with(monkeypatch: pytest.MonkeyPatch, folder: Path) -> list[dict[str, Any]]:
    """A hub that answers with this folder; the list fills with what it is asked."""
    asked: list[dict[str, Any]] = []

    def snapshot_download(repo_id: str, **options: Any) -> str:
        asked.append({"repo_id": repo_id, **options})
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    return asked


def hub_that_fails(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def snapshot_download(*args: Any, **options: Any) -> str:
        raise error

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)


def test_a_folder_is_itself(model_folder: Path) -> None:
    assert locate(model_folder) == locate(str(model_folder)) == model_folder
    assert open_checkpoint(model_folder).folder == model_folder
    assert open_checkpoint(f"{model_folder}/").name == model_folder.name


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_built_in_name(name: str) -> None:
    assert (locate(name) / "config.json").is_file()


def test_every_built_in_folder_has_a_name() -> None:
    folders = {folder.name for folder in MODELS.iterdir() if folder.is_dir()}
    assert folders == set(BUILT_IN)


def test_a_folder_of_that_name_comes_before_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    hub_that_fails(monkeypatch, OSError("the hub was asked"))
    (tmp_path / HUB_ID).mkdir(parents=True)
    assert locate(HUB_ID) == Path(HUB_ID)


@pytest.mark.parametrize("name", ["bertedge-smal-en", "a/b/c", "/no/such", "./a", "../a", "x" * 5000, "a b/c", "a\0b"])
def test_an_unknown_name_is_a_two_line_error(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hub_that_fails(monkeypatch, AssertionError("the hub was asked"))
    with pytest.raises(FileError, match="no such folder or built-in model") as caught:
        locate(name)
    assert str(caught.value).count("\n") == 1
    assert all(built_in in caught.value.hint for built_in in BUILT_IN)


def test_a_path_is_never_asked_from_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    hub_that_fails(monkeypatch, AssertionError("the hub was asked"))
    with pytest.raises(FileError, match="no such folder"):
        locate(Path(HUB_ID))


def test_a_file_is_no_folder(model_folder: Path) -> None:
    with pytest.raises(FileError, match=r"config\.json: is a file, expected a folder"):
        locate(model_folder / "config.json")


def test_a_model_of_the_hub(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = hub_with(monkeypatch, model_folder)
    assert locate(HUB_ID) == model_folder
    assert asked == [{"repo_id": HUB_ID, "revision": None, "allow_patterns": HUB_FILES}]
    assert open_checkpoint(HUB_ID).name == "small-bert"  # the hub's folder is called by the hash of a commit


def test_a_revision_of_a_model_of_the_hub(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = hub_with(monkeypatch, model_folder)
    assert open_checkpoint(f"{HUB_ID}@refs/pr/1").name == "small-bert"
    assert [(request["repo_id"], request["revision"]) for request in asked] == [(HUB_ID, "refs/pr/1")]


def test_a_misspelt_path_is_not_asked_from_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    hub_that_fails(monkeypatch, AssertionError("the hub was asked"))
    (tmp_path / "someone").mkdir()
    with pytest.raises(FileError, match="no such folder or built-in model"):
        locate(HUB_ID)


def test_a_model_of_the_hub_without_an_owner(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = hub_with(monkeypatch, model_folder)
    assert open_checkpoint(OLD_ID).name == OLD_ID
    assert [request["repo_id"] for request in asked] == [OLD_ID]


@pytest.mark.parametrize("name", ["x" * 97, "-a", ".hidden", "größe"])
def test_what_the_hub_cannot_have_is_not_asked_for(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hub_that_fails(monkeypatch, AssertionError("the hub was asked"))
    with pytest.raises(FileError, match="no such folder or built-in model"):
        locate(name)


def test_every_file_that_a_tokenizer_may_need_is_asked_for(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = hub_with(monkeypatch, model_folder)
    locate(HUB_ID)
    plain = {file for files in PLAIN_FILES.values() for file in files}
    assert {"added_tokens.json", "special_tokens_map.json", "modules.json", HEADS_FILE, *CONFIG_FILES, *plain} <= {
        *asked[0]["allow_patterns"]
    }


def test_an_embedder_of_the_hub_is_fetched_whole(tmp_path: Path, model_folder: Path) -> None:
    """What the hub's own filter lets through is enough to read the folder; pickles and other formats stay there."""
    from huggingface_hub.utils import filter_repo_objects

    for place in ("", "0_Transformer"):
        modules = [(place, TRANSFORMER[1], None), pooling("cls"), NORMALIZE, DENSE]
        about = {"prompts": {"query": "query: "}}
        whole = embedder_folder(
            tmp_path / f"whole{place}", model_folder, modules, transformer={"max_seq_length": 9}, about=about
        )
        for other in ("pytorch_model.bin", "onnx/model.onnx", "onnx/config.json", "2_Dense/pytorch_model.bin"):
            (whole / other).parent.mkdir(exist_ok=True)
            (whole / other).write_bytes(b"")
        there = [str(path.relative_to(whole)) for path in whole.rglob("*") if path.is_file()]
        fetched = list(filter_repo_objects(there, allow_patterns=HUB_FILES))
        assert not [name for name in fetched if name.startswith("onnx") or name.endswith(".bin")]
        for name in fetched:
            (tmp_path / f"part{place}" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(whole / name, tmp_path / f"part{place}" / name)
        assert open_checkpoint(tmp_path / f"part{place}").embedding == open_checkpoint(whole).embedding


def test_pickles_are_asked_for_only_where_there_is_nothing_safer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = hub_with(monkeypatch, tmp_path)
    locate(HUB_ID)
    assert [("pytorch_model.bin" in request["allow_patterns"]) for request in asked] == [False, True]


@pytest.mark.parametrize("place", ["", "0_Transformer"])
def test_weights_of_a_module_behind_the_bert_are_not_its_own(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for inside in (place, "2_Dense"):
        (tmp_path / inside).mkdir(exist_ok=True)
        (tmp_path / inside / "model.safetensors").touch()
    asked = hub_with(monkeypatch, tmp_path)
    locate(HUB_ID)
    assert len(asked) == 1
    (tmp_path / place / "model.safetensors").unlink()
    locate(HUB_ID)
    assert [("pytorch_model.bin" in request["allow_patterns"]) for request in asked[1:]] == [False, True]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError("connection refused\nwith a long\nstory"), "connection refused"),
        (RuntimeError(""), "RuntimeError"),
        (ValueError("\n 404 \n"), "404"),
    ],
)
def test_a_download_that_fails_is_a_two_line_error(
    monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    hub_that_fails(monkeypatch, error)
    with pytest.raises(FileError) as caught:
        locate(HUB_ID)
    assert BUILT_IN[0] in caught.value.hint
    assert caught.value.message == f"{HUB_ID}: no such folder, and the hub did not deliver it ({reason})"
    assert str(caught.value).count("\n") == 1


def test_without_the_hub_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(
        FileError, match=f"{HUB_ID}: no such folder, and searching the hub needs huggingface_hub"
    ) as caught:
        locate(HUB_ID)
    assert "pip install huggingface_hub" in caught.value.hint
    assert BUILT_IN[0] in caught.value.hint
