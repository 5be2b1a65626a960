"""The lines about requests."""

from __future__ import annotations

import json
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from bertedge.serve.request_log import RequestLog
from tests.serve.held_engine import until


def test_no_line_is_lost_between_two_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that is made while the lines before it are written."""
    written = tmp_path / "log"
    log = RequestLog(requests=True)

    class SlowFact:
        def __str__(self) -> str:
            until(lambda: written.stat().st_size)
            return "slow"

    with written.open("w") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        log.start()
        log.event("first")
        log.event("second", fact=SlowFact())
        log.event("third")
        until(lambda: written.read_text().count("\n") >= 3)
        log.close()
    lines = [json.loads(line) for line in written.read_text().splitlines()]
    assert [line["event"] for line in lines] == ["first", "second", "third"]


def test_a_reader_that_is_slow_or_gone_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines that nobody reads are counted, and do not fill the memory."""
    monkeypatch.setattr("bertedge.serve.request_log.MOST_LINES", 3)
    before = set(threading.enumerate())
    read, write = os.pipe()
    log = RequestLog(requests=True)
    with suppress(BrokenPipeError), os.fdopen(write, "w") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        for number in range(5):
            log.request(number=number)
        log.start()
        with os.fdopen(read) as reader:
            told = [json.loads(reader.readline()) for _ in range(4)]
        assert [line.get("number") for line in told] == [0, 1, 2, None]
        assert told[-1] == {"event": "log lines lost", "lines": 2}
        log.request(number=6)  # the pipe has no reader any more
        log.close()
    assert set(threading.enumerate()) <= before
