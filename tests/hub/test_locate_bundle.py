"""Wherever a bundle is named, its name on a hub will do; a local folder comes first."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bertedge import BundleMapper
from bertedge.bundle import Bundle
from bertedge.bundle_folder import find_bundle, locate_bundle
from bertedge.errors import BundleError, FileError
from bertedge.manifest import MANIFEST
from bertedge.runtime import load
from bertedge.serve.serve_settings import ServeSettings
from bertedge.serve.served_models import ServedModels
from tests.cli.test_cli import typed
from tests.hub.conftest import forget_connections
from tests.hub.fake_hub import Hub, error
from tests.hub.test_push_and_pull import NAME, content, put

TEXT = "The cat sat on the [MASK]."


def unwatched(name: str) -> Callable[[int, int, float], None]:
    return lambda rows, tokens, seconds: None


def without_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    forget_connections()


@pytest.fixture
def bundle(bundle_of: Callable[..., Bundle], hub: Hub) -> Bundle:
    """A bundle that is on the hub too."""
    made = bundle_of("dynamic")
    put(hub, made)
    return made


def test_load(bundle: Bundle, hub: Hub) -> None:
    loaded = load(NAME, threads=1)
    assert loaded.name == "small-int8"
    assert loaded.fill_mask(TEXT) == load(bundle.folder, threads=1).fill_mask(TEXT)
    assert pickle.loads(pickle.dumps(loaded)).name == "small-int8"
    hub.asked.clear()
    load(NAME, threads=1)
    assert hub.asked == [f"HEAD /{NAME}/resolve/main/manifest.json"]  # only whether there is a newer one


def test_a_newer_commit_is_taken(bundle: Bundle, bundle_of: Callable[..., Bundle], hub: Hub) -> None:
    first = locate_bundle(NAME)
    other = bundle_of("static")
    hub.repositories[NAME].commit(content(other.folder))
    assert content(locate_bundle(NAME)) == content(other.folder)
    assert locate_bundle(f"{NAME}@{first.name}") == first


@pytest.mark.parametrize("kind", ["static", "float32"])
def test_weights_in_a_file_of_their_own(kind: str, bundle_of: Callable[..., Bundle], hub: Hub) -> None:
    """The hub's cache has links to files in another folder."""
    split = bundle_of(kind, layout="split")
    put(hub, split)
    for engine in ("onnxruntime", "auto"):
        assert load(NAME, threads=1, engine=engine).fill_mask(TEXT) == load(
            split.folder, threads=1, engine=engine
        ).fill_mask(TEXT)


@pytest.mark.parametrize("words", [("fill-mask", NAME, TEXT), ("info", NAME), ("verify", f"hf://{NAME}")])
def test_commands(words: tuple[str, ...], bundle: Bundle) -> None:
    done = typed(*words, "--json")
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 1)


def test_without_a_network_the_cache_is_enough(bundle: Bundle, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = locate_bundle(NAME)
    hub.asked.clear()
    without_network(monkeypatch)
    assert locate_bundle(NAME) == folder
    with pytest.raises(FileError, match="HF_HUB_OFFLINE is set, and the hub's cache lacks it"):
        locate_bundle("someone/other")
    assert hub.asked == []


def test_a_hub_that_fails_is_no_reason_to_stop(bundle: Bundle, hub: Hub) -> None:
    folder = locate_bundle(NAME)
    hub.refusal = lambda method, path: error(503)
    assert locate_bundle(NAME) == folder


def test_offline_in_a_process_of_its_own(bundle: Bundle, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    locate_bundle(NAME)
    hub.asked.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    command = [sys.executable, "-m", "bertedge", "info", NAME]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout.splitlines()[0].split(), hub.asked) == (["kind", "bundle"], [])


def test_a_cache_that_is_not_whole(bundle: Bundle, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    (locate_bundle(NAME) / "plan.json").unlink()
    without_network(monkeypatch)
    with pytest.raises(FileError, match="HF_HUB_OFFLINE is set"):
        locate_bundle(NAME)


def test_a_damaged_cache(bundle: Bundle) -> None:
    folder = locate_bundle(NAME)
    broken = (folder / "plan.json").resolve()
    broken.write_bytes(broken.read_bytes().swapcase())
    with pytest.raises(BundleError, match=r"plan\.json was altered") as caught:
        load(NAME)
    assert caught.value.hint == f"delete {folder.parents[1]}, so that it is downloaded again"


def test_a_checkpoint_is_no_bundle(hub: Hub) -> None:
    hub.make(NAME, {"config.json": b"{}"})
    with pytest.raises(BundleError, match="is not a bundle") as caught:
        locate_bundle(NAME)
    assert f"bertedge quantize {NAME}" in caught.value.hint
    assert find_bundle(NAME) is None
    assert find_bundle("someone/missing") is None


def test_a_local_folder_comes_first(bundle: Bundle, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / NAME).mkdir(parents=True)
    assert locate_bundle(NAME) == Path(NAME)
    assert find_bundle(NAME) is None
    assert hub.asked == []
    assert content(locate_bundle(f"hf://{NAME}")) == content(bundle.folder)


@pytest.mark.parametrize(
    "name", ["small.int8", "models/smal.int8", "./models/x", "/models/x", "a/b/c", "models/x/", "~/x", "x" * 5000, ""]
)
def test_what_looks_like_a_path_is_not_asked_from_the_hub(
    name: str, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    with pytest.raises(BertError):
        load(name)
    with pytest.raises(BertError):
        load(Path(NAME))
    assert hub.asked == []


#: A path that names nothing, or the current folder, which is no bundle.
BertError = (FileError, BundleError)


def test_without_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(FileError, match="no such folder, and the hub needs huggingface_hub") as caught:
        load(NAME)
    assert "[hub]" in caught.value.hint
    assert find_bundle(NAME) is None


def test_workers_of_a_job_get_the_commit_that_it_began_with(
    bundle: Bundle, bundle_of: Callable[..., Bundle], hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pickled = pickle.dumps(BundleMapper(NAME, column="text", threads=1))
    hub.repositories[NAME].commit(content(bundle_of("static").folder))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache of another machine"))
    vectors = pickle.loads(pickled)({"text": [TEXT]})["embedding"]
    assert vectors.tolist() == load(bundle.folder, threads=1).encode([TEXT]).tolist()


def test_a_server(bundle: Bundle, bundle_of: Callable[..., Bundle], hub: Hub) -> None:
    two = ServeSettings(bundles=(f"{NAME}@v2", "hf://other/small-int8"))
    assert ServedModels(two, unwatched).names == (NAME, "other/small-int8")
    served = ServedModels(ServeSettings(bundles=(NAME,), threads=1), unwatched)
    served.load()
    newer = bundle_of("static")
    hub.repositories[NAME].commit(content(newer.folder))
    assert served.served[NAME].runtime.bundle.model_sha256 == bundle.model_sha256
    assert served.reload() == {NAME: None}
    assert served.served[NAME].runtime.bundle.model_sha256 == newer.model_sha256
    hub.repositories[NAME].commit({MANIFEST: b"{}"})
    assert isinstance(served.reload()[NAME], BundleError)
    assert served.served[NAME].runtime.bundle.model_sha256 == newer.model_sha256
    served.close()
