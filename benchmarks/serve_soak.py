"""The soak of ``serve_load.py``: good, broken and abandoned requests with reloads, for a long time.

Every answer is compared with what the same request got before, byte by byte. At the end the server's own counters must
agree with what the clients saw: each request was answered exactly once.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from load_client import HOST, Load, post

if TYPE_CHECKING:
    from serve_load import Server

#: Clients that send good and broken requests, and clients that leave.
STEADY, LEAVING = 12, 4
#: Seconds between two reloads, and between two looks at the memory.
RELOAD_S, LOOK_S = 10.0, 0.5
#: Memory in the last quarter as a ratio to that in the second one, at most; the first quarter warms up.
MEMORY = 1.1
KEPT = "/v1/embeddings"
#: A name for what was sent -> the request, and the status that it must get.
BROKEN: dict[str, tuple[bytes, int]] = {
    "no JSON": (post(KEPT, b'{"input": '), 400),
    "another type": (post(KEPT, b'{"input": {"a": 1}}'), 400),
    "no text": (post(KEPT, b'{"input": []}'), 400),
    "not UTF-8": (post(KEPT, b'{"input": "\xff\xfe"}'), 400),
    "unknown bundle": (post(KEPT, b'{"input": "a", "model": "none"}'), 404),
    "unknown path": (post("/v1/none", b"{}"), 404),
    "too large": (post(KEPT, b"")[:-5] + b"9999999\r\n\r\n", 413),
}


@dataclass
class Seen:
    """What the clients saw."""

    statuses: Counter[int] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    left: int = 0
    reloads: int = 0
    memory: list[int] = field(default_factory=list)


def soak(server: Server, bundle: Path, minutes: float) -> bool:
    """Print a table; whether all was well."""
    seen = Seen()
    asyncio.run(_soak(server, bundle, minutes * 60, seen))
    quarter = len(seen.memory) // 4
    before, after = median(seen.memory[quarter : 2 * quarter]), median(seen.memory[-quarter:])
    told = asyncio.run(counted(server.port))
    agree = (
        all(told[status] == count for status, count in seen.statuses.items() if status != 404)
        and told[404] <= (seen.statuses[404])
    )
    statuses = ", ".join(f"{status}: {count:,}" for status, count in sorted(seen.statuses.items()))
    print("| what | how much |\n| --- | --- |")
    print(f"| answers by status | {statuses} |")
    print(f"| requests that clients gave up | {seen.left:,} |")
    print(f"| reloads | {seen.reloads} |")
    print(f"| wrong or missing answers | {dict(seen.wrong) or 0} |")
    print(f"| the server counted the same | {'yes' if agree else f'no: {dict(told)}'} |")
    print(f"| memory in the second quarter, in the last one | {before / 1024:.0f} MB, {after / 1024:.0f} MB |")
    return agree and not seen.wrong and after <= MEMORY * before


async def _soak(server: Server, bundle: Path, seconds: float, seen: Seen) -> None:
    end = time.monotonic() + seconds
    lines = Load(server.port).lines
    good = await expected(server.port, lines)
    work = [steady(server.port, good, random.Random(number), end, seen) for number in range(STEADY)]
    work += [leaving(server.port, lines, random.Random(number), end, seen) for number in range(LEAVING)]
    await asyncio.gather(*work, reload_and_look(server, bundle, end, seen))


async def expected(port: int, lines: list[str]) -> list[tuple[bytes, bytes]]:
    """Requests of one to 32 sentences, with their answers from a server that does nothing else."""
    rng, found = random.Random(0), []
    for number in range(200):
        texts = rng.sample(lines, 1 if number % 2 else rng.randint(2, 32))
        request = post(KEPT, json.dumps({"input": texts, "encoding_format": "base64"}).encode())
        status, body = await once(port, request)
        if status != 200:
            raise SystemExit(f"a good request got the status {status}")
        found.append((request, body))
    return found


async def steady(port: int, good: list[tuple[bytes, bytes]], rng: random.Random, end: float, seen: Seen) -> None:
    """A client that waits for its answers: four of five requests are good ones."""
    while time.monotonic() < end:
        reader, writer = await asyncio.open_connection(HOST, port)
        for _ in range(rng.randint(1, 50)):
            name, (request, status), answer = "good", (b"", 200), b""
            if rng.random() < 0.8:
                request, answer = rng.choice(good)
            else:
                name = rng.choice(list(BROKEN))
                request, status = BROKEN[name]
            writer.write(request)
            try:
                got, body, closes = await read_answer(reader)
            except (OSError, asyncio.IncompleteReadError):
                seen.wrong[f"{name}: no answer"] += 1
                break
            if KEPT.encode() in request:
                seen.statuses[got] += 1
            if got not in (status, 429) or (got == 200 and body != answer):
                seen.wrong[f"{name}: {got}"] += 1
            if closes:
                break
        writer.close()


async def leaving(port: int, lines: list[str], rng: random.Random, end: float, seen: Seen) -> None:
    """A client that leaves in the middle of its request, or before its answer."""
    while time.monotonic() < end:
        _, writer = await asyncio.open_connection(HOST, port)
        request = post("/embed", json.dumps({"inputs": rng.sample(lines, rng.randint(1, 32))}).encode())
        writer.write(request if rng.random() < 0.7 else request[: rng.randint(1, len(request) - 1)])
        await asyncio.sleep(rng.random() * 0.02)
        writer.transport.abort()
        seen.left += 1


async def reload_and_look(server: Server, bundle: Path, end: float, seen: Seen) -> None:
    """Reload the bundle again and again, every third time from a folder that lacks a file; note the memory."""
    due, manifest = time.monotonic() + RELOAD_S, bundle / "manifest.json"
    while time.monotonic() < end:
        if time.monotonic() >= due:
            hidden = manifest.with_suffix(".hidden")
            if seen.reloads % 3 == 2:
                manifest.rename(hidden)
            server.process.send_signal(signal.SIGHUP)
            seen.reloads += 1
            await asyncio.sleep(RELOAD_S / 2)
            if hidden.exists():
                hidden.rename(manifest)
            due = time.monotonic() + RELOAD_S / 2
        status = Path(f"/proc/{server.process.pid}/status").read_text(encoding="ascii")
        seen.memory.append(int(status.partition("VmRSS:")[2].split()[0]))
        await asyncio.sleep(LOOK_S)


async def once(port: int, request: bytes) -> tuple[int, bytes]:
    """Send one request."""
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(request)
    status, body, _ = await read_answer(reader)
    writer.close()
    return status, body


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, bytes, bool]:
    """Status and body of an answer, and whether the server closes the connection after it."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return int(head[9:12]), await reader.readexactly(length), b"connection: close" in head


async def counted(port: int) -> Counter[int]:
    """The server's own count of answers, by status, without the requests that were made before the soak."""
    _, text = await once(port, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
    found: Counter[int] = Counter()
    for line in text.decode().splitlines():
        if line.startswith("bertedge_requests_total") and f'route="{KEPT}"' in line:
            found[int(line.partition('status="')[2][:3])] += int(float(line.rpartition(" ")[2]))
    found[200] -= 200
    return found
