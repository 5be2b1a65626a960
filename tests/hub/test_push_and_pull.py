"""A bundle goes to a hub and comes back: the same bytes, or an error of two lines and nothing half done."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Event

import pytest

from bertedge.bundle import Bundle
from bertedge.errors import BertEdgeError, BundleError, FileError, MissingExtraError, UsageError
from bertedge.hub.download import pull
from bertedge.hub.upload import push
from bertedge.manifest import MANIFEST
from tests.cli.test_cli import typed
from tests.cli.test_signals_and_streams import start, wait_for
from tests.hub.fake_hub import Answer, Hub, error

NAME = "someone/small-int8"


@pytest.fixture
def bundle(bundle_of: Callable[..., Bundle]) -> Bundle:
    return bundle_of("dynamic")


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def put(hub: Hub, bundle: Bundle, **changes: bytes | None) -> None:
    """Place a bundle on the hub, with some files changed, or left out where they are None."""
    files = {**content(bundle.folder), **{name.replace("__", "."): data for name, data in changes.items()}}
    hub.make(NAME, {name: data for name, data in files.items() if data is not None})


def large(path: str) -> bool:
    return path.startswith("/large/")


def test_what_is_pushed_is_pulled(hub: Hub, bundle: Bundle, tmp_path: Path) -> None:
    done = push(bundle.folder, NAME)
    repository = hub.repositories[NAME]
    assert set(repository.files) == {".gitattributes", "README.md", *content(bundle.folder)}
    assert (len(repository.commits), done.removed, repository.private) == (2, (), False)
    assert done.url.endswith(f"{NAME}/commit/{done.commit}")
    pulled = pull(NAME, tmp_path / "again")
    assert content(pulled.folder) == content(bundle.folder)
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith("hub-")) == ["again"]


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # the hub's client to its own HTTP client
def test_the_commands(hub: Hub, bundle: Bundle, tmp_path: Path) -> None:
    options = ["--private", "--message", "A first try.", "--license", "apache-2.0"]
    done = typed("push", bundle.folder, NAME, *options)
    repository = hub.repositories[NAME]
    assert (done.stdout.strip(), done.stderr) == (f"{hub.url}/{NAME}/commit/{repository.branches['main']}", "")
    assert (repository.messages[-1], repository.private) == ("A first try.", True)
    assert b"license: apache-2.0\n" in repository.files["README.md"]
    assert typed("pull", NAME, "-o", tmp_path / "again").returncode == 0
    assert content(tmp_path / "again") == content(bundle.folder)
    hub.asked.clear()
    assert typed("push", bundle.folder, NAME, "--dry-run").stdout.startswith("---\n")
    assert hub.asked == []


@pytest.mark.parametrize(
    ("card", "expected"),
    [(b"---\nlicense: mit\n---\n", "mit"), (b"---\nlicense: other\n---\n", None), (b"", None), (None, None)],
)
def test_the_licence_of_the_float_model(card: bytes | None, expected: str | None, hub: Hub, bundle: Bundle) -> None:
    if card is not None:
        hub.make("someone/small", {"README.md": card})
    done = typed("push", bundle.folder, NAME, "--base-model", "someone/small", "--dry-run")
    assert ("license: mit\n" in done.stdout) == (expected == "mit")
    assert done.stderr == f"licence: {expected or 'none found'}, from the card of someone/small\n"
    done = typed("push", bundle.folder, NAME, "--base-model", "someone/small", "--license", "apache-2.0", "--dry-run")
    assert "license: apache-2.0\n" in done.stdout


def test_files_that_only_the_earlier_bundle_had_go_away_and_others_stay(
    hub: Hub, bundle_of: Callable[..., Bundle], tmp_path: Path
) -> None:
    first, second = bundle_of("static", layout="split"), bundle_of("dynamic")
    push(first.folder, NAME)
    repository = hub.repositories[NAME]
    repository.commit({**repository.files, "notes.md": b"mine", "README.md": b"my own card"})
    done = push(second.folder, NAME, keep_card=True)
    gone = set(first.manifest.files) - set(second.manifest.files)
    assert gone
    assert set(done.removed) == gone
    assert not gone & set(repository.files)
    assert (repository.files["notes.md"], repository.files["README.md"]) == (b"mine", b"my own card")
    assert content(pull(NAME, tmp_path / "again").folder) == content(second.folder)


def test_branches_and_commits(hub: Hub, bundle_of: Callable[..., Bundle], tmp_path: Path) -> None:
    first, second = bundle_of("dynamic"), bundle_of("static")
    kept = push(first.folder, NAME).commit
    push(second.folder, NAME, revision="v2")
    assert sorted(hub.repositories[NAME].branches) == ["main", "v2"]
    for revision, expected in (("@v2", second), ("", first), (f"@{kept}", first)):
        pulled = pull(NAME + revision, tmp_path / "again", force=True)
        assert content(pulled.folder) == content(expected.folder)


def test_an_altered_bundle_is_not_pushed(hub: Hub, bundle: Bundle, tmp_path: Path) -> None:
    for name, data in content(bundle.folder).items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "config.json").write_bytes(b"{}")
    with pytest.raises(BundleError, match=r"config\.json was altered"):
        push(tmp_path, NAME)
    assert hub.asked == []


def test_another_model_is_not_overwritten(hub: Hub, bundle: Bundle) -> None:
    hub.make(NAME, {"config.json": b"{}", "model.safetensors": b"1"})
    with pytest.raises(FileError, match=r"holds something else, and the bundle would overwrite config\.json"):
        push(bundle.folder, NAME)
    assert len(hub.repositories[NAME].commits) == 1


def test_private_is_not_silently_public(hub: Hub, bundle: Bundle) -> None:
    put(hub, bundle)
    with pytest.raises(UsageError, match="is there already, and is public"):
        push(bundle.folder, NAME, private=True)
    assert len(hub.repositories[NAME].commits) == 1


def test_two_pushes_at_once(hub: Hub, bundle: Bundle) -> None:
    put(hub, bundle)

    def another(method: str, path: str, answer: Answer) -> Answer:
        if "/preupload/" in path:
            hub.repositories[NAME].commit({**hub.repositories[NAME].files, "new": b""})
        return answer

    hub.fault = another
    with pytest.raises(FileError, match="the repository was changed at the same time"):
        push(bundle.folder, NAME)
    assert "new" in hub.repositories[NAME].files


def test_what_the_hub_leaves_out_is_noticed(hub: Hub, bundle: Bundle) -> None:
    hub.make(NAME, {}, ignored=("model.onnx",))
    with pytest.raises(FileError, match=r"the hub left out model\.onnx") as caught:
        push(bundle.folder, NAME)
    assert ".gitignore" in caught.value.hint


@pytest.mark.parametrize("where", ["/large/", "/commit/main"])
def test_a_push_that_fails_changes_nothing(where: str, hub: Hub, bundle: Bundle) -> None:
    put(hub, bundle)
    before = hub.repositories[NAME].files
    hub.repositories[NAME].commit({**before, "config.json": b"an earlier one"})
    hub.refusal = lambda method, path: error(500) if where in path else None
    with pytest.raises(FileError, match="the hub did not take it .*HTTP 500"):
        push(bundle.folder, NAME)
    assert hub.repositories[NAME].files["config.json"] == b"an earlier one"


def damaged(method: str, path: str, answer: Answer) -> Answer:
    """The same number of bytes, one of them wrong."""
    if method == "GET" and (large(path) or path.endswith("onnx")) and len(answer.body) > 9000:
        answer.body = answer.body[:5000] + bytes([answer.body[5000] ^ 1]) + answer.body[5001:]
    return answer


def cut_off(method: str, path: str, answer: Answer) -> Answer:
    """The connection breaks in the middle."""
    if method == "GET" and len(answer.body) > 9000:
        answer.cut = 5000
    return answer


@pytest.mark.parametrize("fault", [damaged, cut_off])
def test_what_arrives_damaged_is_refused(
    fault: Callable[[str, str, Answer], Answer], hub: Hub, bundle: Bundle, tmp_path: Path
) -> None:
    put(hub, bundle)
    hub.fault = fault
    place = tmp_path / "place"
    place.mkdir()
    with pytest.raises(BertEdgeError) as caught:
        pull(NAME, place / "again")
    assert (caught.value.exit_code, len(str(caught.value).splitlines())) == (3, 2)
    assert caught.value.message.startswith(f"{NAME}: ")
    assert list(place.iterdir()) == []


def test_an_earlier_bundle_survives_a_pull_that_fails(
    hub: Hub, bundle_of: Callable[..., Bundle], tmp_path: Path
) -> None:
    put(hub, bundle_of("dynamic"))
    earlier = pull(NAME, tmp_path / "again")
    before = content(earlier.folder)
    put(hub, bundle_of("static"))
    hub.fault = damaged
    with pytest.raises(BundleError):
        pull(NAME, tmp_path / "again", force=True)
    assert content(earlier.folder) == before


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
def test_ctrl_c_leaves_nothing(hub: Hub, bundle: Bundle, tmp_path: Path) -> None:
    put(hub, bundle)
    asked, ended = Event(), Event()

    def stalled(method: str, path: str, answer: Answer) -> Answer:
        if large(path):
            asked.set()
            ended.wait(60)
        return answer

    hub.fault = stalled
    place = tmp_path / "place"
    place.mkdir()
    process = start("pull", NAME, "-o", place / "again")
    try:
        wait_for(asked.is_set, process)
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=60)
    finally:
        ended.set()
        process.kill()
    assert (process.returncode, said.splitlines()[-1]) == (130, "stopped")
    assert list(place.iterdir()) == []


@pytest.mark.parametrize(
    ("files", "hint"),
    [
        ({"config.json": b"{}", "model.safetensors": b"1"}, f"bertedge quantize {NAME} -o BUNDLE"),
        ({"README.md": b"a data set"}, "name a repository that 'bertedge push' wrote"),
    ],
)
def test_what_is_no_bundle_is_refused(files: dict[str, bytes], hint: str, hub: Hub, tmp_path: Path) -> None:
    hub.make(NAME, files)
    with pytest.raises(BundleError, match="is not a bundle") as caught:
        pull(NAME, tmp_path / "again")
    assert hint in caught.value.hint


@pytest.mark.parametrize(("change", "reason"), [(None, "is missing"), (b"[]", "was altered")])
def test_a_repository_that_is_not_whole_is_refused_before_it_is_downloaded(
    change: bytes | None, reason: str, hub: Hub, bundle: Bundle, tmp_path: Path
) -> None:
    put(hub, bundle, plan__json=change)
    with pytest.raises(BundleError, match=rf"{NAME}: plan\.json {reason}"):
        pull(NAME, tmp_path / "again")
    assert not [path for path in hub.asked if "model.onnx" in path]


def test_the_output_is_there_already(hub: Hub, bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "mine").touch()
    for force, reason in ((False, "is already there"), (True, "is not something that bertedge wrote")):
        with pytest.raises(FileError, match=reason):
            pull(NAME, tmp_path / "again", force=force)
    assert hub.asked == []


@pytest.mark.parametrize("name", ["small", "a/b/c", "a b/c", "someone/", "/small", "someone/small@", "-a/b", ""])
def test_what_is_no_name(name: str, hub: Hub, bundle: Bundle, tmp_path: Path) -> None:
    for call in (lambda: pull(name, tmp_path / "again"), lambda: push(bundle.folder, name)):
        with pytest.raises(UsageError) as caught:
            call()
        assert "OWNER/NAME" in caught.value.hint
    assert hub.asked == []


def test_a_branch_to_push_to_is_an_option(bundle: Bundle) -> None:
    with pytest.raises(UsageError) as caught:
        push(bundle.folder, f"{NAME}@v2")
    assert caught.value.hint == "--revision v2"


FAULTS: dict[str, tuple[Answer, str, str]] = {
    "missing": (error(404, "RepoNotFound"), "no such repository, or it is private", "hf auth login"),
    "revision": (error(404, "RevisionNotFound"), "no such branch, tag or commit", "page"),
    "gated": (error(403, "GatedRepo"), "accept terms", "hf auth login"),
    "token": (error(401, "", "Invalid credentials in Authorization header"), "access token", "HF_TOKEN"),
    "forbidden": (error(403), "does not allow this", "token"),
    "often": (error(429), "too many requests", "wait"),
    "down": (error(503), "the hub failed: HTTP 503", "later"),
    "odd": (error(418), "HTTP 418", "HF_ENDPOINT"),
    "page": (Answer(200, b"<html>Log in to the network</html>"), "", "network"),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_errors_of_the_hub_are_two_lines(kind: str, hub: Hub, bundle: Bundle, tmp_path: Path) -> None:
    answer, reason, hint = FAULTS[kind]
    hub.refusal = lambda method, path: answer
    for call in (lambda: pull(NAME, tmp_path / "again"), lambda: push(bundle.folder, NAME)):
        with pytest.raises(FileError) as caught:
            call()
        assert caught.value.message.startswith(f"{NAME}: the hub did not ")
        assert len(str(caught.value).splitlines()) == 2
        assert reason in caught.value.message
        assert hint in caught.value.hint
    assert not (tmp_path / "again").exists()


def test_a_hub_that_is_not_there(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(FileError, match="the hub did not deliver it .*refused") as caught:
        pull(NAME, tmp_path / "again")
    assert caught.value.hint == "check the network, and HF_ENDPOINT if it is set"


def test_without_the_client(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for call in (lambda: pull(NAME, tmp_path / "again"), lambda: push(bundle.folder, NAME)):
        with pytest.raises(MissingExtraError, match="huggingface_hub") as caught:
            call()
        assert "[hub]" in caught.value.hint


def test_a_manifest_that_names_files_elsewhere(hub: Hub, bundle: Bundle, tmp_path: Path) -> None:
    raw = json.loads((bundle.folder / MANIFEST).read_bytes())
    raw["files"]["../evil.txt"] = {"sha256": "0" * 64, "size_bytes": 4}
    put(hub, bundle, manifest__json=json.dumps(raw).encode())
    hub.repositories[NAME].files["../evil.txt"] = b"evil"
    with pytest.raises(BundleError, match=r"\.\./evil\.txt"):
        pull(NAME, tmp_path / "again")
    assert not (tmp_path / "evil.txt").exists()


def test_a_manifest_of_another_kind(hub: Hub, tmp_path: Path) -> None:
    hub.make(NAME, {MANIFEST: b'{"name": "a web app"}'})
    with pytest.raises(BundleError, match="has no schema_version"):
        pull(NAME, tmp_path / "again")
