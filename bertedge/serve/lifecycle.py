"""Run the application in this process: its socket, its signals, its end."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import ipaddress
import logging
import math
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

import uvicorn
from prometheus_client import disable_created_metrics

from bertedge.errors import UnfitMachineError, UsageError
from bertedge.serve.asgi_app import create_app, refusal
from bertedge.serve.gatekeeper import EarlyRefusal
from bertedge.serve.serve_settings import ServeSettings
from bertedge.serve.service import Service
from bertedge.serve.timed_protocol import TimedProtocol

#: Seconds after which an idle connection is closed: longer than the usual 60 of a proxy, which should close it first.
IDLE_S = 75
#: Connections at once, at most. Those that wait for an answer are far fewer, see :attr:`ServeSettings.max_requests`.
MOST_CONNECTIONS = 4096
#: Connections that the system holds until they are taken.
BACKLOG = 2048
#: Seconds after which the system ends a connection whose client does not read: its answer takes memory until then.
UNREAD_S = 30
#: glibc's parameter for the number of its heaps, and how many there may be.
M_ARENA_MAX, ARENAS = -8, 2


def serve(settings: ServeSettings, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT comes, and finish the requests that are there. SIGHUP loads the bundles again.

    Args:
        port: 0 for any that is free; the first line of the log tells it.

    Raises:
        UnfitMachineError: the address cannot be used.
        BertEdgeError: a bundle cannot be used.
    """
    disable_created_metrics()  # each counter would come with the time of its creation
    _share_freed_memory()
    with _without_hangups(), listening(host, port) as bound:
        service = Service(settings)
        try:
            service.load()
            Server(settings, service).run(sockets=[bound])
        finally:
            service.close()


def _share_freed_memory() -> None:
    """Let threads share what they free, as ``MALLOC_ARENA_MAX`` does. glibc keeps it for each thread apart; a server
    has many. Does nothing with another C library.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, ARENAS)


@contextmanager
def _without_hangups() -> Iterator[None]:
    """Ignore SIGHUP, which would end the process: there is nothing to load again before and after the server runs."""
    hangup = getattr(signal, "SIGHUP", None)  # Windows has none
    if hangup is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(hangup, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(hangup, before)


class Server(uvicorn.Server):
    """uvicorn, which ends with 0 after SIGTERM, and loads the bundles again after SIGHUP."""

    def __init__(self, settings: ServeSettings, service: Service) -> None:
        app = create_app(settings, service)
        early = EarlyRefusal(service, refusal, {getattr(route, "path", "") for route in app.routes})
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            loop="asyncio",  # uvloop takes one new connection a turn of its loop: under load these wait for minutes
            lifespan="on",
            http=type("Protocol", (TimedProtocol,), {"refuse": staticmethod(early)}),
            ws="none",
            server_header=False,
            limit_concurrency=MOST_CONNECTIONS,
            backlog=BACKLOG,
            timeout_keep_alive=IDLE_S,
            timeout_graceful_shutdown=math.ceil(settings.grace_s),
        )
        super().__init__(config)
        logging.getLogger("uvicorn").setLevel(logging.CRITICAL)  # what it would tell is in the log of requests
        self._service = service
        self._asked = False
        self._reloading: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so; signals are handled by now."""
        await super().startup(sockets)
        urls = [url_of(bound) for bound in sockets or ()]
        self._service.log.event("ready", url=", ".join(urls), bundles=list(self._service.names))

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals while the server runs. Unlike uvicorn, do not raise them again afterwards."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        handlers = dict.fromkeys(("SIGTERM", "SIGINT", "SIGBREAK"), self.handle_exit)
        before = {
            number: signal.signal(number, handler)
            for name, handler in handlers.items()
            if (number := getattr(signal, name, None)) is not None
        }
        hangup = getattr(signal, "SIGHUP", None)  # Windows has none
        if hangup is not None:
            before[hangup] = signal.signal(hangup, lambda *_: loop.call_soon_threadsafe(self.reload))
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop taking requests; a second Ctrl-C does not wait for those that are there."""
        if not self._service.draining:
            self._service.draining = True
            self._service.log.event("stopping", signal=signal.Signals(sig).name)
        super().handle_exit(sig, frame)

    def reload(self) -> None:
        """Load the bundles again while requests run."""
        self._asked = True
        if self._reloading is None or self._reloading.done():
            self._reloading = asyncio.get_running_loop().create_task(self._reload())

    async def _reload(self) -> None:
        """However often one is asked for a reload during one, a single one after it loads what is there by then."""
        while self._asked and not self._service.draining:
            self._asked = False
            await self._service.reload()


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that listens.

    Raises:
        UnfitMachineError: the port is in use or may not be used, or the address is not one of this machine.
        UsageError: the host is not an address or a name.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError, OverflowError) as error:
        raise UsageError(f"{host}: is no address ({error})", "use 127.0.0.1, or 0.0.0.0 for all networks") from None
    with socket.socket(family, kind, protocol) as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; connections take it over
            bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(UNREAD_S * 1000))
        try:
            bound.bind(address)
            bound.listen(BACKLOG)
        except OSError as error:
            hint = "choose another one with --port, or 0 for any that is free"
            if error.errno == errno.EADDRINUSE:
                raise UnfitMachineError(f"port {port} is in use on {host}", hint) from None
            raise UnfitMachineError(f"cannot listen on {host}, port {port}: {error.strerror}", hint) from None
        yield bound


def url_of(bound: socket.socket) -> str:
    """Where a socket listens, as an address for a browser."""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_open_to_others(host: str) -> bool:
    """Whether other machines can reach an address."""
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host != "localhost"
