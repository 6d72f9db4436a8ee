"""Serves one application: uvicorn on uvloop and httptools, with the deadlines that uvicorn lacks.

A client that trickles its headers or its body, or says nothing at all, holds a connection for as long as it likes under
uvicorn. Here every connection carries the instant by which its present step must be done; one sweep closes the late.
"""

import asyncio
import contextlib
import gc
import json
import logging
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import uvicorn
import uvloop
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from shared.catalogue import CatalogueRefused
from shared.migrate import ChangedMigration, StaleSchema
from shared.web.problems import MEDIA_TYPE
from shared.web.refusals import unavailable

logger = logging.getLogger(__name__)


class Address(Protocol):
    """Where to listen; every settings class has it."""

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...


EX_OK = 0
EX_TEMPFAIL = 75
EX_CONFIG = 78
ALWAYS_ANSWERED = ("/health/", "/metrics")
"""Answered beyond the connection limit too: a probe that fails under load would restart what is merely busy."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one connection and of all together.

    A body has ``body_seconds`` and as long as ``least_bytes_per_second`` would take; a client that reads nothing of
    its answer has ``write_seconds``. ``drain_bytes`` of a refused body are read and thrown away, so that its sender
    can read the refusal.
    """

    header_seconds: float = 5.0
    body_seconds: float = 10.0
    least_bytes_per_second: int = 16 * 1024
    write_seconds: float = 30.0
    keep_alive_seconds: float = 5.0
    linger_seconds: float = 1.0
    header_bytes: int = 16 * 1024
    drain_bytes: int = 8 * 1024 * 1024
    connections: int = 1000
    """Beyond the queue of the group commit, which is what refuses under load: 500 clients at once are no emergency."""
    shutdown_seconds: int = 10
    sweep_seconds: float = 0.25


DEFAULT_LIMITS = Limits()
NEVER = float("inf")


def on_hangup(app: FastAPI, reload: Callable[[], None]) -> None:
    """Runs ``reload`` on SIGHUP. What it raises is logged and changes nothing else."""
    app.state.on_hangup = [*getattr(app.state, "on_hangup", []), reload]


def serve(app: FastAPI, address: Address, limits: Limits = DEFAULT_LIMITS) -> int:
    """Runs until SIGTERM or SIGINT, finishes what has begun and returns the exit code.

    0 after an orderly end; with a sentence on standard error 75 when the address is in use and 78 when the
    configuration or the schema does not fit.
    """
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_serve(app, address, limits))
    except (StaleSchema, ChangedMigration, CatalogueRefused) as error:
        print(f"{app.title} can't start: {error}", file=sys.stderr)
        return EX_CONFIG


def _quiet_collector() -> None:
    """Takes what was loaded at the start out of the garbage collector's sight and lets it look less often.

    A request leaves no cycles behind worth looking for every 700 allocations: that cost 5–10 % of a busy process.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


async def _serve(app: FastAPI, address: Address, limits: Limits) -> int:
    config = uvicorn.Config(
        app,
        host=address.host,
        port=address.port,
        http=deadline_protocol(limits),
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=int(limits.keep_alive_seconds) or 1,
        timeout_graceful_shutdown=limits.shutdown_seconds,
    )
    server = Server(config, limits, getattr(app.state, "on_hangup", []))
    # the lifespan is entered here and not by uvicorn, which would log a failed start with all values in its message
    async with app.router.lifespan_context(app):
        _quiet_collector()
        try:
            await server.serve()
        except SystemExit:  # uvicorn's answer to an address in use; the lifespan is to end in order all the same
            print(f"{app.title} can't listen on {address.host}:{address.port}; is it in use?", file=sys.stderr)
    return EX_OK if server.started else EX_TEMPFAIL


class Server(uvicorn.Server):
    """uvicorn's server with the sweep of late connections and with signals that end in a return, not in a kill."""

    def __init__(self, config: uvicorn.Config, limits: Limits, hangup: Sequence[Callable[[], None]] = ()) -> None:
        super().__init__(config)
        self._limits = limits
        self._hangup = tuple(hangup)

    async def serve(self, sockets: Any = None) -> None:
        """Serves until told to stop; the sweep goes on while connections are being finished."""
        sweep = asyncio.create_task(self._sweep())
        try:
            await super().serve(sockets)
        finally:
            sweep.cancel()

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._limits.sweep_seconds)
            now = loop.time()
            for connection in tuple(self.server_state.connections):
                if isinstance(connection, DeadlineProtocol) and connection.deadline_at < now:
                    connection.expire()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT stop the server (a second SIGINT at once), SIGHUP runs the registered functions."""
        loop = asyncio.get_running_loop()
        handled = {
            signal.SIGTERM: lambda: self.handle_exit(signal.SIGTERM, None),
            signal.SIGINT: lambda: self.handle_exit(signal.SIGINT, None),
            signal.SIGHUP: self._reload,
        }
        for number, handler in handled.items():
            loop.add_signal_handler(number, handler)
        try:
            yield
        finally:
            for number in handled:
                loop.remove_signal_handler(number)

    def _reload(self) -> None:
        for reload in self._hangup:
            try:
                reload()
            except Exception:
                logger.exception("Reload on SIGHUP failed; what was loaded before stays")


def deadline_protocol(limits: Limits) -> type["DeadlineProtocol"]:
    """The protocol class for ``uvicorn.Config(http=…)`` with these limits."""
    return type("LimitedProtocol", (DeadlineProtocol,), {"limits": limits})


class DeadlineProtocol(HttpToolsProtocol):
    """Every step of a connection has an instant by which it must be done (``deadline_at``, of the loop's clock)."""

    limits = DEFAULT_LIMITS

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.deadline_at = self.loop.time() + self.limits.header_seconds
        self._head_begun = False
        self._refused = False
        self._head_bytes = 0
        self._drained_bytes = 0
        self._served_app = self.app
        self._full_app = _at_capacity(self._served_app)
        if len(self.connections) > 2 * self.limits.connections:
            self._refuse(503, "Too many connections")

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        continued = self._head_begun
        super().data_received(data)
        # a head that spans several reads is counted as it comes: httptools itself collects a line without end
        if continued and self._head_begun and not self._refused:
            self._head_bytes += len(data)
            if self._head_bytes > self.limits.header_bytes:
                self._refuse(431, "The header of the request is too large")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_begun = True
        self._head_bytes = 0
        self._drained_bytes = 0
        self.deadline_at = self.loop.time() + self.limits.header_seconds

    def on_headers_complete(self) -> None:
        self._head_begun = False
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self.limits.header_bytes:
            self._refuse(431, "The header of the request is too large")
            return
        self.deadline_at = self.loop.time() + self.limits.body_seconds
        self.app = self._full_app if len(self.connections) > self.limits.connections else self._served_app
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if self._refused:
            return
        self.deadline_at += len(body) / self.limits.least_bytes_per_second
        if self.cycle.response_complete:
            self._drained_bytes += len(body)
            if self._drained_bytes > self.limits.drain_bytes:
                self.transport.abort()
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._refused:
            return
        super().on_message_complete()
        self.deadline_at = self._idle_until() if self.cycle.response_complete else NEVER

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.cycle.more_body and not self.pipeline:
            self.deadline_at = self._idle_until()

    def pause_writing(self) -> None:
        super().pause_writing()
        self.deadline_at = self.loop.time() + self.limits.write_seconds

    def resume_writing(self) -> None:
        super().resume_writing()
        self.deadline_at = self.loop.time() + self.limits.body_seconds if self.cycle.more_body else NEVER

    def _idle_until(self) -> float:
        """Keep-alive is uvicorn's timer, which any byte stops; this one is not stopped by stray line ends."""
        return self.loop.time() + self.limits.keep_alive_seconds + self.limits.header_seconds

    def expire(self) -> None:
        """Called by the sweep once ``deadline_at`` has passed: 408 to a request that came in part, then closed."""
        if self.flow.read_paused and not self._refused and not self.flow.write_paused:
            self.deadline_at = self.loop.time() + self.limits.body_seconds  # it is the application that is slow
            return
        unanswered = self.cycle is not None and not self.cycle.response_complete
        answering = unanswered and self.cycle.response_started
        if self._refused or answering or not (unanswered or self._head_begun):
            self.deadline_at = NEVER
            self.transport.abort()
            return
        self._refuse(408, "The request took too long to arrive")

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "Not a valid HTTP request")

    def _refuse(self, status: int, title: str) -> None:
        """Answers in place of the application. The connection lingers for a moment in which what still comes in is
        thrown away: closing it with unread bytes would reset it before the client has read the answer."""
        self._refused = True
        self._unset_keepalive_if_required()
        self.pipeline.clear()
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.flow.resume_reading()
        self.deadline_at = self.loop.time() + self.limits.linger_seconds
        body = json.dumps({"type": "about:blank", "title": title, "status": status}).encode()
        head = f"HTTP/1.1 {status} {title}\r\ncontent-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\n"
        if status == 503:
            head += f"retry-after: {unavailable(Exception()).headers['Retry-After']}\r\n"
        self.transport.write(head.encode() + b"connection: close\r\n\r\n" + body)
        if self.transport.can_write_eof():
            self.transport.write_eof()


def _at_capacity(app: Any) -> Any:
    async def at_capacity(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].startswith(ALWAYS_ANSWERED):
            await app(scope, receive, send)
            return
        response = unavailable(Exception()).response()
        response.headers["connection"] = "close"
        await response(scope, receive, send)

    return at_capacity
