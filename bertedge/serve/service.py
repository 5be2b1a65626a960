"""What is behind the routes: the bundles, the threads that answer requests, and their limits."""

from __future__ import annotations

import asyncio
import math
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar

from starlette.requests import Request

from bertedge.engines.threads import checked_threads
from bertedge.errors import BertEdgeError
from bertedge.runtime import BertRuntime
from bertedge.serve.batching import CURRENT, Ticket, client_gone
from bertedge.serve.counted_warnings import counted_warnings
from bertedge.serve.exchange import EXCHANGE, Exchange
from bertedge.serve.refusals import Refused, overloaded
from bertedge.serve.request_log import RequestLog
from bertedge.serve.serve_settings import ServeSettings
from bertedge.serve.served_models import ServedModel, ServedModels
from bertedge.serve.server_metrics import COUNTED, ServerMetrics
from bertedge.serve.turns import Turns

T = TypeVar("T")


class Answered(NamedTuple, Generic[T]):
    """The answer to a request, and the tokens that were read for it."""

    value: T
    tokens: int


class Service:
    """The bundles and the threads of a server.

    Attributes:
        settings: the limits of requests.
        metrics, log: what is told about requests.
        draining: whether the server stops: it finishes what it has.
        running: how many requests are worked on.
        seconds: how long they take.
    """

    def __init__(self, settings: ServeSettings) -> None:
        self.settings = settings
        self.metrics = ServerMetrics()
        self.models = ServedModels(settings, self.metrics.watcher)
        self.log = RequestLog(requests=settings.log_requests)
        self.draining = False
        self.running, self.seconds = 0, 0.0
        self._ready = False
        self._pool = ThreadPoolExecutor(settings.max_requests, thread_name_prefix="request")
        self._reloader = ThreadPoolExecutor(1, thread_name_prefix="reload")
        self._open = ExitStack()
        self._turns = Turns(checked_threads(settings.threads))

    @property
    def names(self) -> tuple[str, ...]:
        """The bundles, in the order of the command line."""
        return self.models.names

    @property
    def state(self) -> str:
        """``ready``, ``loading`` or ``draining``."""
        return "draining" if self.draining else "ready" if self._ready else "loading"

    def require_room(self) -> None:
        """Refuse a request while enough others are worked on.

        Raises:
            Refused: there are.
        """
        if self.running >= self.settings.max_requests:
            raise overloaded("too many requests are being worked on", self.seconds)

    def load(self) -> None:
        """Load the bundles, unless this was done.

        Raises:
            BertEdgeError: one cannot be used.
        """
        if self._ready:
            return
        self.models.load()
        self.log.start()
        for name in self.names:
            self.metrics.show_queue(name, partial(self.models.waiting, name))
        self._open.enter_context(counted_warnings(COUNTED, self.metrics.warning))
        self._ready = True

    def tell(self, route: str, status: int, seconds: float, *, texts: int, tokens: int, id: str) -> None:
        """Count and log a request that has ended."""
        self.metrics.request(route, status, seconds, texts)
        milliseconds = math.ceil(seconds * 1e4) / 10
        self.log.request(route=route, status=status, ms=milliseconds, texts=texts, tokens=tokens, id=id)

    def pick(self, name: str) -> ServedModel:
        """The bundle of a name.

        Raises:
            Refused: there is none.
        """
        served = self.models.served
        if name not in served:
            raise Refused(404, f"there is no bundle of this name, only {', '.join(self.names)}")
        return served[name]

    async def answer(
        self, request: Request, served: ServedModel, work: Callable[[BertRuntime], T], texts: int
    ) -> Answered[T]:
        """Run ``work`` in a thread of its own; its calls of the model run together with those of other requests.

        Args:
            texts: how many texts the request has.

        Raises:
            Refused: there are too many texts or tokens, the time is over, the client has left, or the server stops.
            Exception: whatever ``work`` raises.
        """
        if texts > self.settings.max_texts:
            raise Refused(413, f"the request has {texts} texts, expected at most {self.settings.max_texts}")
        exchange: Exchange = request.scope[EXCHANGE]
        exchange.texts = texts
        while not served.enter():  # it was replaced since it was picked
            closed, served = served, self.models.served[served.name]
            if served is closed:
                raise Refused(503, "the server stops")
        job = _Job(served, work, self._turns)
        self._pool.submit(job.run)
        try:
            value = await job.result(exchange)
            exchange.tokens = job.ticket.tokens
            return Answered(value, exchange.tokens)
        except BaseException as error:
            traceback.clear_frames(error.__traceback__)  # those of the job, which has the error
            raise
        finally:
            del job, served, work

    async def reload(self) -> dict[str, BertEdgeError | None]:
        """Load all bundles again while requests run; see :meth:`ServedModels.reload`."""
        start = time.monotonic()
        found = await asyncio.get_running_loop().run_in_executor(self._reloader, self.models.reload)
        for name, error in found.items():
            self.metrics.reload(name, failed=error is not None)
            seconds = round(time.monotonic() - start, 3)
            if error is None:
                self.log.event("bundle reloaded", bundle=name, seconds=seconds)
            else:
                told = {"error": error.message, "hint": error.hint}
                self.log.event("reload failed, the old bundle stays", bundle=name, **told)
        return found

    def close(self) -> None:
        """End the threads. Requests that still run are dropped."""
        self._ready = False
        self._reloader.shutdown()
        self.models.close()
        self._pool.shutdown(wait=False)  # those that nobody waits for any more end at once
        self._open.close()
        self.log.close()


class _Job(Generic[T]):
    """The work of a request, in another thread."""

    def __init__(self, served: ServedModel, work: Callable[[BertRuntime], T], turns: Turns) -> None:
        self._served, self._work, self._turns = served, work, turns
        self._loop = asyncio.get_running_loop()
        self._done: asyncio.Future[T] = self._loop.create_future()
        self.ticket = Ticket()

    def run(self) -> None:
        """Called in a thread."""
        value, error = self._outcome()
        self._served.leave()
        if isinstance(error, Refused | BertEdgeError):  # its frames would keep a model that was replaced in memory
            error.__traceback__ = None
        with suppress(RuntimeError):  # the loop was closed: nobody waits
            self._loop.call_soon_threadsafe(self._settle, value, error)
        del value, error

    def _outcome(self) -> tuple[Any, BaseException | None]:
        """What the work gives or raises."""
        CURRENT.ticket, CURRENT.turns = self.ticket, self._turns
        try:
            with self._turns.turn():
                return None if self._done.done() else self._work(self._served.runtime), None
        except BaseException as error:
            return None, error
        finally:
            CURRENT.ticket = CURRENT.turns = None

    async def result(self, exchange: Exchange) -> T:
        """Wait for the answer, until the time is over or the client has left."""
        leaving = self._loop.create_task(exchange.left())
        leaving.add_done_callback(self._client_left)
        timer = self._loop.call_later(exchange.seconds_left(), self._expire)
        try:
            return await self._done
        except asyncio.CancelledError:
            self.ticket.end(client_gone())
            raise
        finally:
            timer.cancel()
            leaving.cancel()

    def _settle(self, value: T, error: BaseException | None) -> None:
        if self._done.done():
            return
        if error is None:
            self._done.set_result(value)
        else:
            self._done.set_exception(error)

    def _end(self, error: Refused) -> None:
        self.ticket.end(Refused(error.status, error.message))  # each thread raises its own
        if not self._done.done():
            self._done.set_exception(error)

    def _client_left(self, leaving: asyncio.Task[None]) -> None:
        if not leaving.cancelled():
            self._end(client_gone())

    def _expire(self) -> None:
        self._end(Refused(504, "the request took too long"))
