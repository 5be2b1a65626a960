"""A model hub on this machine: the part of the real one's HTTP interface that huggingface_hub uses, in memory."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

Files = dict[str, bytes]
#: Files of this kind, or larger ones, are kept outside git.
LARGE = (".onnx", ".npz", ".onnx_data")
LARGE_BYTES = 1000
TOKEN = "hf_of-the-tests"


@dataclass
class Repository:
    """Branches and commits of a repository.

    Attributes:
        commits: commit -> its files.
        branches: branch -> commit.
        ignored: paths that a ``.gitignore`` names.
    """

    private: bool = False
    commits: dict[str, Files] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    ignored: tuple[str, ...] = ()

    def commit(self, files: Files, branch: str = "main", message: str = "") -> str:
        """Add a commit with exactly these files."""
        name = hashlib.sha1(repr((len(self.commits), sorted(files.items()))).encode()).hexdigest()
        self.commits[name], self.branches[branch] = files, name
        self.messages.append(message)
        return name

    def find(self, revision: str) -> str | None:
        """The commit of a branch or a commit."""
        return self.branches.get(revision) or (revision if revision in self.commits else None)

    @property
    def files(self) -> Files:
        """The files of the main branch."""
        return self.commits[self.branches["main"]]


@dataclass
class Answer:
    """An answer of the hub. ``cut``: the connection breaks after so many bytes of the body."""

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None


def error(status: int, code: str = "", message: str = "") -> Answer:
    return Answer(status, b"{}", {"X-Error-Code": code, "X-Error-Message": message or code})


def as_json(value: Any, **headers: str) -> Answer:
    return Answer(200, json.dumps(value).encode(), {"Content-Type": "application/json", **headers})


class Hub:
    """The hub.

    Attributes:
        url: where it listens.
        repositories: name -> repository.
        asked: ``METHOD /path`` of every request.
        refusal: called with the method and the path of each request; what it returns is sent, and nothing is done.
        fault: called with the method, the path and the answer of each request; what it returns is sent instead.
    """

    def __init__(self) -> None:
        self.url = ""
        self.repositories: dict[str, Repository] = {}
        self.blobs: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.refusal: Callable[[str, str], Answer | None] = lambda method, path: None
        self.fault: Callable[[str, str, Answer], Answer] = lambda method, path, answer: answer
        self.routes: list[tuple[str, str, Callable[..., Answer]]] = [
            ("POST", r"/api/repos/create", self._create),
            ("POST", r"/api/validate-yaml", self._validate),
            ("GET", r"/api/models/([^/]+/[^/]+)(?:/revision/([^/]+))?", self._about),
            ("POST", r"/api/models/([^/]+/[^/]+)/branch/([^/]+)", self._branch),
            ("POST", r"/api/models/([^/]+/[^/]+)/preupload/([^/]+)", self._preupload),
            ("POST", r"/api/models/([^/]+/[^/]+)/commit/([^/]+)", self._commit),
            ("POST", r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch", self._batch),
            ("PUT", r"/large/(\w+)", self._put),
            ("GET", r"/large/(\w+)", lambda body, query, oid: Answer(body=self.blobs[oid])),
            ("(?:HEAD|GET)", r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self._resolve),
        ]

    def make(self, name: str, files: Files, **options: Any) -> Repository:
        """Add a repository with one commit."""
        made = self.repositories[name] = Repository(**options)
        made.commit({".gitattributes": b"", **files})
        return made

    def elsewhere(self, oid: str) -> str:
        """Where a large file is: on another host, as with the real hub."""
        return f"{self.url.replace('127.0.0.1', 'localhost')}/large/{oid}"

    def answer(self, method: str, url: str, body: bytes) -> Answer:
        parts = urlsplit(url)
        self.asked.append(f"{method} {parts.path}")
        refused = self.refusal(method, parts.path)
        if refused is not None:
            return refused
        for verb, pattern, route in self.routes:
            match = re.fullmatch(pattern, parts.path)
            if match and re.fullmatch(verb, method):
                words = [None if word is None else unquote(word) for word in match.groups()]
                return self.fault(method, parts.path, route(body, parse_qs(parts.query), *words))
        return self.fault(method, parts.path, error(404, "", f"no route {method} {parts.path}"))

    def _create(self, body: bytes, query: Any) -> Answer:
        asked = json.loads(body)
        name = f"{asked['organization']}/{asked['name']}"
        if name in self.repositories:
            return Answer(409, json.dumps({"url": f"{self.url}/{name}", "error": "it is there"}).encode())
        self.make(name, {}, private=asked.get("visibility") == "private" or bool(asked.get("private")))
        return as_json({"url": f"{self.url}/{name}", "name": name, "id": name})

    def _validate(self, body: bytes, query: Any) -> Answer:
        assert json.loads(body)["content"].startswith("---\n")
        return as_json({"errors": [], "warnings": []})

    def _about(self, body: bytes, query: Any, name: str, revision: str | None) -> Answer:
        repository = self.repositories.get(name)
        if repository is None:
            return error(404, "RepoNotFound")
        commit = repository.find(revision or "main")
        if commit is None:
            return error(404, "RevisionNotFound")
        with_sizes = "blobs" in query
        siblings = [
            {"rfilename": path, **({"size": len(data), "blobId": git_hash(data)} if with_sizes else {})}
            for path, data in repository.commits[commit].items()
        ]
        license = re.search(rb"^license: (\S+)$", repository.commits[commit].get("README.md", b""), re.MULTILINE)
        card = {"cardData": {"license": license[1].decode()}} if license else {}
        about = {"_id": "1", "id": name, "modelId": name, "private": repository.private, "sha": commit}
        return as_json({**about, **card, "tags": [], "downloads": 0, "likes": 0, "siblings": siblings})

    def _branch(self, body: bytes, query: Any, name: str, branch: str) -> Answer:
        repository = self.repositories[name]
        if branch in repository.branches:
            return error(409, "", "Reference already exists")
        repository.branches[branch] = repository.branches["main"]
        return as_json({})

    def _preupload(self, body: bytes, query: Any, name: str, branch: str) -> Answer:
        repository = self.repositories[name]
        now = repository.commits[repository.branches[branch]]
        answers = []
        for file in json.loads(body)["files"]:
            path = file["path"]
            large = path.endswith(LARGE) or file["size"] > LARGE_BYTES
            answers.append(
                {
                    "path": path,
                    "uploadMode": "lfs" if large else "regular",
                    "shouldIgnore": path in repository.ignored,
                    "oid": oid_of(path, now[path]) if path in now else None,
                }
            )
        return as_json({"files": answers})

    def _batch(self, body: bytes, query: Any, name: str) -> Answer:
        found = []
        for asked in json.loads(body)["objects"]:
            oid = asked["oid"]
            actions = {} if oid in self.blobs else {"actions": {"upload": {"href": f"{self.url}/large/{oid}"}}}
            found.append({"oid": oid, "size": asked["size"], **actions})
        return as_json({"transfer": "basic", "objects": found})

    def _put(self, body: bytes, query: Any, oid: str) -> Answer:
        if hashlib.sha256(body).hexdigest() != oid:
            return error(400)
        self.blobs[oid] = body
        return Answer()

    def _commit(self, body: bytes, query: Any, name: str, branch: str) -> Answer:
        repository = self.repositories[name]
        header, *lines = (json.loads(line) for line in body.splitlines())
        parent = repository.branches[branch]
        if header["value"].get("parentCommit", parent) != parent:
            return error(412, "", "A commit has happened since")
        files = dict(repository.commits[parent])
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.blobs[value["oid"]]
            else:
                del files[value["path"]]
        commit = repository.commit(files, branch, header["value"]["summary"])
        return as_json({"commitUrl": f"{self.url}/{name}/commit/{commit}", "commitOid": commit, "success": True})

    def _resolve(self, body: bytes, query: Any, name: str, revision: str, path: str) -> Answer:
        repository = self.repositories.get(name)
        if repository is None:
            return error(404, "RepoNotFound")
        commit = repository.find(revision)
        if commit is None:
            return error(404, "RevisionNotFound")
        data = repository.commits[commit].get(path)
        headers = {"X-Repo-Commit": commit}
        if data is None:
            return Answer(404, b"", {**headers, "X-Error-Code": "EntryNotFound"})
        oid = oid_of(path, data)
        if not (path.endswith(LARGE) or len(data) > LARGE_BYTES):
            return Answer(200, data, {**headers, "ETag": f'"{oid}"'})
        self.blobs[oid] = data
        linked = {"X-Linked-Etag": f'"{oid}"', "X-Linked-Size": str(len(data)), "Location": self.elsewhere(oid)}
        return Answer(302, b"", {**headers, **linked})


def oid_of(path: str, data: bytes) -> str:
    """The hash that the hub knows a file by."""
    large = path.endswith(LARGE) or len(data) > LARGE_BYTES
    return hashlib.sha256(data).hexdigest() if large else git_hash(data)


def git_hash(data: bytes) -> str:
    """The name of a blob in git."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@contextmanager
def serve_hub() -> Iterator[Hub]:
    """Run a hub on a free port."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answer = hub.answer(self.command, self.path, body)
            self.send_response(answer.status)
            for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body[: answer.cut])
            if answer.cut is not None:
                self.close_connection = True

        do_HEAD = do_POST = do_PUT = do_GET

        def log_message(self, *words: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        hub.url = f"http://127.0.0.1:{server.server_port}"
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()
