"""The soak of ``serve_load.py``: good, broken and abandoned requests with reloads, for a long time.

Every answer is compared with what the same call answers in Python. At the end the server's own counters must agree with
what the clients saw: each request was answered exactly once.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import signal
import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from load_client import HOST, post

from bertedge.errors import TextWarning
from bertedge.heads import BY_VERB
from bertedge.runtime import BertRuntime, load

if TYPE_CHECKING:
    from serve_load import Server

#: Clients that send good and broken requests, and clients that leave.
STEADY, LEAVING = 12, 4
#: Seconds between two reloads, and between two looks at the memory.
RELOAD_S, LOOK_S = 3.0, 0.5
#: Every so many reloads, the bundle lacks a file.
BROKEN_EACH = 3
#: Good requests of each kind for each bundle.
KINDS = 100
#: Memory in the last quarter as a ratio to that in the second one, at most; the first quarter warms up.
MEMORY = 1.1
VECTORS, LEFT = "/v1/embeddings", "/embed"
#: Commands whose routes get good requests, where a bundle has them.
VERBS = ("fill-mask", "next-sentence")
#: Routes whose answers are counted; clients that leave use another one.
COUNTED = (VECTORS, *(f"/{verb}" for verb in VERBS))


def chunked(path: str, body: bytes) -> bytes:
    """A request that does not tell how long it is."""
    head = post(path, b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    return head + f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n"


#: A name for what was sent -> the request, and the status that it must get.
BROKEN: dict[str, tuple[bytes, int]] = {
    "no JSON": (post(VECTORS, b'{"input": '), 400),
    "nested too deeply": (post(VECTORS, b"[" * 100_000), 400),
    "another type": (post(VECTORS, b'{"input": {"a": 1}}'), 400),
    "no text": (post(VECTORS, b'{"input": []}'), 400),
    "not UTF-8": (post(VECTORS, b'{"input": "\xff\xfe"}'), 400),
    "unknown field": (post("/fill-mask", b'{"texts": "a", "field": 1}'), 422),
    "half a pair": (post("/next-sentence", b'{"pairs": ["a"]}'), 422),
    "unknown bundle": (post(VECTORS, b'{"input": "a", "model": "none"}'), 404),
    "unknown path": (post("/v1/none", b"{}"), 404),
    "too many texts": (post(VECTORS, json.dumps({"input": ["a"] * 2049}).encode()), 413),
    "told to be too large": (post(VECTORS, b"")[:-5] + b"9999999\r\n\r\n", 413),
    "too large": (chunked(VECTORS, b" " * (5 << 20)), 413),
}


@dataclass(frozen=True)
class Asked:
    """A good request.

    Attributes:
        answer: what Python answers.
        read: the part of an answer in JSON that is compared with it.
    """

    request: bytes
    answer: Any
    read: Callable[[Any], Any]

    def answered_by(self, body: bytes) -> bool:
        return bool(self.read(json.loads(body)) == self.answer)


@dataclass
class Seen:
    """What the clients saw."""

    statuses: Counter[int] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    left: int = 0
    reloads: int = 0
    memory: list[int] = field(default_factory=list)


def soak(server: Server, bundles: Sequence[Path], lines: Sequence[str], minutes: float) -> bool:
    """Print a table; whether all was well.

    Args:
        bundles: what the server serves.
        lines: texts for requests.
    """
    rng, seen = random.Random(0), Seen()
    warnings.simplefilter("ignore", TextWarning)
    good = [asked for bundle in bundles for asked in asked_of(bundle.name, load(bundle, threads=1), lines, rng)]
    asyncio.run(_soak(server, bundles, good, lines, minutes * 60, seen))
    quarter = len(seen.memory) // 4
    before, after = median(seen.memory[quarter : 2 * quarter + 1]), median(seen.memory[-quarter - 1 :])
    told = asyncio.run(metrics(server.port))
    counted = told.by_status()
    broken, loaded = told.sum("bertedge_reloads_total", 'result="failed"'), told.sum("bertedge_reloads_total", "loaded")
    print("| what | how much |\n| --- | --- |")
    print(f"| answers by status | {listed(seen.statuses)} |")
    print(f"| the server counted the same | {'yes' if counted == seen.statuses else f'no: {listed(counted)}'} |")
    print(f"| requests that clients gave up | {seen.left:,} |")
    print(f"| signals to reload; bundles loaded, bundles that could not be | {seen.reloads}; {loaded}, {broken} |")
    print(f"| wrong or missing answers | {dict(seen.wrong) or 0} |")
    print(f"| memory in the second quarter, in the last one | {before / 1024:.0f} MB, {after / 1024:.0f} MB |")
    return counted == seen.statuses and not seen.wrong and after <= MEMORY * before


def listed(statuses: Counter[int]) -> str:
    """Statuses and how many there were."""
    return ", ".join(f"{status}: {count:,}" for status, count in sorted(statuses.items()))


def asked_of(name: str, model: BertRuntime, lines: Sequence[str], rng: random.Random) -> list[Asked]:
    """Good requests to a bundle, with the answers of Python."""
    found = []
    for number in range(KINDS):
        texts = rng.choices(lines, k=1 if number % 2 else rng.randint(2, 32))
        if number % 10 == 0:
            texts.append(" ".join(rng.choices(lines, k=300)))  # longer than the model reads
        body = {"input": texts, "encoding_format": "base64", "model": name}
        vectors = [base64.b64encode(vector.tobytes()).decode() for vector in model.encode(texts)]
        found.append(Asked(post(VECTORS, json.dumps(body).encode()), vectors, vectors_in))
    for verb in VERBS:
        if verb in model.verbs:
            found += [_asked_verb(verb, name, model, lines, rng) for _ in range(KINDS)]
    return found


def _asked_verb(verb: str, name: str, model: BertRuntime, lines: Sequence[str], rng: random.Random) -> Asked:
    rows, options = BY_VERB[verb].verb.rows, BY_VERB[verb].verb.options
    items: list[Any] = rng.choices(lines, k=rng.randint(1, 8))
    if rows.second == "always":
        items, given = [(text, rng.choice(lines)) for text in items], "pairs"
    else:
        items, given = [_masked(text, model.tokenizer.mask_token, rng) for text in items], "texts"
    defaults = {one.name: one.default for one in options if one.of_rows and not one.gives}
    answers = [dict(rows.values(answer)) for answer in rows.answers(model, items, **defaults)]
    request = post(f"/{verb}", json.dumps({given: items, "model": name}).encode())
    return Asked(request, json.loads(json.dumps(answers)), lambda whole: whole)


def _masked(text: str, mask: str, rng: random.Random) -> str:
    words = text.split()
    words[rng.randrange(len(words))] = mask
    return " ".join(words)


def vectors_in(answer: Any) -> Any:
    """The vectors of an answer of OpenAI's route."""
    return [one["embedding"] for one in answer["data"]]


async def _soak(
    server: Server, bundles: Sequence[Path], good: list[Asked], lines: Sequence[str], seconds: float, seen: Seen
) -> None:
    end = time.monotonic() + seconds
    work = [steady(server.port, good, random.Random(number), end, seen) for number in range(STEADY)]
    work += [leaving(server.port, lines, random.Random(number), end, seen) for number in range(LEAVING)]
    await asyncio.gather(*work, reload(server, bundles[0], end, seen), look(server, end, seen))


async def steady(port: int, good: list[Asked], rng: random.Random, end: float, seen: Seen) -> None:
    """A client that waits for its answers: four of five requests are good ones."""
    while time.monotonic() < end:
        reader, writer = await asyncio.open_connection(HOST, port)
        for _ in range(rng.randint(1, 50)):
            asked = rng.choice(good) if rng.random() < 0.8 else None
            name = "good" if asked else rng.choice(list(BROKEN))
            request, status = (asked.request, 200) if asked else BROKEN[name]
            try:
                writer.write(request)
                got, body, closes = await read_answer(reader)
            except (OSError, asyncio.IncompleteReadError) as error:
                seen.wrong[f"{name}: {type(error).__name__} instead of an answer"] += 1
                break
            if request.split(b" ", 2)[1].decode() in COUNTED:
                seen.statuses[got] += 1
            if got not in (status, 429) or (asked and got == 200 and not asked.answered_by(body)):
                seen.wrong[f"{name}: {got}"] += 1
            if closes:
                break
        writer.close()


async def leaving(port: int, lines: Sequence[str], rng: random.Random, end: float, seen: Seen) -> None:
    """A client that leaves in the middle of its request, before its answer or in the middle of it."""
    while time.monotonic() < end:
        reader, writer = await asyncio.open_connection(HOST, port)
        request = post(LEFT, json.dumps({"inputs": rng.choices(lines, k=rng.randint(1, 32))}).encode())
        how = rng.choice(["request", "wait", "answer"])
        writer.write(request[: rng.randint(1, len(request) - 1)] if how == "request" else request)
        if how == "answer":
            await reader.read(rng.randint(1, 1000))
        else:
            await asyncio.sleep(rng.random() * 0.02)
        writer.transport.abort()
        seen.left += 1


async def reload(server: Server, bundle: Path, end: float, seen: Seen) -> None:
    """Reload the bundles again and again, sometimes while one of them lacks a file."""
    manifest = bundle / "manifest.json"
    hidden = manifest.with_suffix(".hidden")
    while time.monotonic() < end:
        seen.reloads += 1
        if seen.reloads % BROKEN_EACH == 0:
            manifest.rename(hidden)
        server.process.send_signal(signal.SIGHUP)
        await asyncio.sleep(RELOAD_S)
        if hidden.exists():
            hidden.rename(manifest)


async def look(server: Server, end: float, seen: Seen) -> None:
    """Note the memory, in kilobytes."""
    while time.monotonic() < end:
        status = Path(f"/proc/{server.process.pid}/status").read_text(encoding="ascii")
        seen.memory.append(int(status.partition("VmRSS:")[2].split()[0]))
        await asyncio.sleep(LOOK_S)


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, bytes, bool]:
    """Status and body of an answer, and whether the server closes the connection after it."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return int(head[9:12]), await reader.readexactly(length), b"connection: close" in head


@dataclass(frozen=True)
class Metrics:
    """The server's own numbers."""

    lines: list[str]

    def sum(self, name: str, label: str) -> int:
        """The sum of a counter over all labels of which a part is given."""
        own = (line for line in self.lines if line.startswith(name + "{") and label in line)
        return sum(int(float(line.rpartition(" ")[2])) for line in own)

    def by_status(self) -> Counter[int]:
        """The answers of the counted routes."""
        own = [line for line in self.lines if any(f'route="{route}"' in line for route in COUNTED)]
        statuses = {int(line.partition('status="')[2][:3]) for line in own if "status=" in line}
        return Counter({one: Metrics(own).sum("bertedge_requests_total", f'status="{one}"') for one in statuses})


async def metrics(port: int) -> Metrics:
    """Ask the server for its numbers."""
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
    _, text, _ = await read_answer(reader)
    writer.close()
    return Metrics(text.decode().splitlines())
