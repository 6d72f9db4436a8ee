"""The server process against raw sockets: deadlines, limits, signals and exit codes."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fixtures.servers import free_port

ROOT = Path(__file__).parents[3]
QUICK = {
    "header_seconds": 0.3,
    "body_seconds": 0.3,
    "write_seconds": 0.3,
    "keep_alive_seconds": 1.0,
    "linger_seconds": 0.3,
    "sweep_seconds": 0.05,
    "connections": 10,
    "shutdown_seconds": 5,
}
LONG = 10.0
POST = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


class Program:
    """The running program, its output, and connections to it."""

    def __init__(self, directory: Path, limits: dict[str, Any], *arguments: str) -> None:
        self.port = free_port()
        self.output = directory / "output"
        self._file = self.output.open("wb")
        command = [
            sys.executable,
            "-m",
            "tests.integration.web.program",
            str(self.port),
            json.dumps(limits),
            *arguments,
        ]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdout=self._file, stderr=subprocess.STDOUT, env={**os.environ, "PYTHONUNBUFFERED": "1"}
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def text(self) -> str:
        return self.output.read_text()

    def wait_until_ready(self) -> None:
        def answers() -> bool:
            assert self.process.poll() is None, self.text()
            with socket.socket() as attempt:
                return attempt.connect_ex(("127.0.0.1", self.port)) == 0

        wait_for(answers)

    def connect(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=LONG)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._file.close()


def wait_for(condition: Callable[[], bool], seconds: float = LONG) -> None:
    """Waits for the condition. Fails when it does not come true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)


def read_to_end(connection: socket.socket) -> bytes:
    """All that comes until the other side closes; a reset counts as closed."""
    received = b""
    try:
        while chunk := connection.recv(65536):
            received += chunk
    except ConnectionError:
        pass
    return received


def trickle(connection: socket.socket, data: bytes, every: float = 0.05) -> bytes:
    """Sends byte by byte until the other side closes; what it said."""
    connection.settimeout(every)
    received = b""
    deadline = time.monotonic() + LONG
    for position in range(len(data) * 1000):
        assert time.monotonic() < deadline, "still open"
        try:
            connection.sendall(data[position % len(data) : position % len(data) + 1])
            chunk = connection.recv(65536)
            if not chunk:
                return received
            received += chunk
        except TimeoutError:
            continue
        except ConnectionError:
            return received
    raise AssertionError("still open")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    with ExitStack() as stack:

        def started(*arguments: str, **limits: Any) -> Program:
            program = Program(tmp_path, {**QUICK, **limits}, *arguments)
            stack.callback(program.close)
            if not arguments:
                program.wait_until_ready()
            return program

        yield started


def test_a_silent_connection_is_closed(start: Callable[..., Program]) -> None:
    """A client that connects and says nothing does not keep its connection."""
    with start().connect() as connection:
        began = time.monotonic()
        assert read_to_end(connection) == b""
        assert time.monotonic() - began < 2


def test_a_trickled_header_is_cut_off_with_408(start: Callable[..., Program]) -> None:
    """Each byte in time does not make the header come in time."""
    with start().connect() as connection:
        connection.sendall(b"GET /echo HTTP/1.1\r\nHost: x\r\n")
        answer = trickle(connection, b"X-Slow: aaaaaaaaaaaaaaaaaa\r\n")
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"application/problem+json" in answer


def test_a_trickled_body_is_cut_off_with_408(start: Callable[..., Program]) -> None:
    """On hot routes and FastAPI routes, with a length and chunked."""
    program = start()
    for path in (b"/echo", b"/v1/echo"):
        for framing, body in ((b"Content-Length: 60000", b"x"), (b"Transfer-Encoding: chunked", b"1\r\nx\r\n")):
            with program.connect() as connection:
                connection.sendall(b"POST " + path + b" HTTP/1.1\r\nHost: x\r\n" + framing + b"\r\n\r\n")
                assert trickle(connection, body).startswith(b"HTTP/1.1 408 ")
    assert "Unexpected error" not in program.text()
    assert httpx.post(f"{program.url}/echo", content=b"abc").text == "3"


def test_stray_line_ends_do_not_hold_an_idle_connection(start: Callable[..., Program]) -> None:
    """Bytes that begin no request stop uvicorn's keep-alive timer, not ours."""
    with start().connect() as connection:
        connection.sendall(b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = trickle(connection, b"\r\n", every=0.1)
    assert answer.count(b"HTTP/1.1") == 1
    assert answer.startswith(b"HTTP/1.1 200 ")


def test_an_idle_connection_is_kept_alive_and_then_closed(start: Callable[..., Program]) -> None:
    """Several requests on one connection; idle for longer than agreed it is closed."""
    with start().connect() as connection:
        for _ in range(3):
            connection.sendall(POST + b"Content-Length: 2\r\n\r\n{}")
            answer = b""
            while not answer.endswith(b"\r\n\r\n2"):
                answer += connection.recv(65536)
            assert answer.startswith(b"HTTP/1.1 200 ")
        assert read_to_end(connection) == b""


def test_a_steady_upload_may_take_longer_than_the_deadline(start: Callable[..., Program]) -> None:
    """The deadline grows with what comes in: a slow line is not a trickle."""
    program = start(least_bytes_per_second=1000)
    with program.connect() as connection:
        connection.sendall(POST + b"Content-Length: 8000\r\n\r\n")
        for _ in range(10):
            connection.sendall(b" " * 800)
            time.sleep(0.1)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_a_slow_application_is_not_the_clients_fault(start: Callable[..., Program]) -> None:
    """While the application does not read, the body's deadline waits."""
    program = start(body_seconds=1.0, least_bytes_per_second=10**12)
    assert httpx.post(f"{program.url}/lazy", content=b"x" * 2_000_000, timeout=LONG).text == "2000000"


def test_a_client_that_reads_nothing_is_cut_off(start: Callable[..., Program]) -> None:
    """An answer that nobody takes does not hold the connection and its stream."""
    program = start()
    with program.connect() as connection:
        connection.sendall(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for(lambda: "stream ended" in program.text())


@pytest.mark.parametrize("shape", ["one long line", "many lines", "long address", "without end"])
def test_a_large_header_is_refused_with_431(start: Callable[..., Program], shape: str) -> None:
    """16 kB in all, whether it comes whole or never ends."""
    heads = {
        "one long line": b"GET /echo HTTP/1.1\r\nX: " + b"a" * 17_000 + b"\r\n\r\n",
        "many lines": b"GET /echo HTTP/1.1\r\n" + b"X: aaaaaaaaaa\r\n" * 2000 + b"\r\n",
        "long address": b"GET /echo?" + b"a" * 17_000 + b" HTTP/1.1\r\n\r\n",
        "without end": b"GET /echo HTTP/1.1\r\nX: " + b"a" * 1_000_000,
    }
    with start(header_seconds=5.0).connect() as connection:
        with_end = heads[shape]
        try:
            for position in range(0, len(with_end), 4096):
                connection.sendall(with_end[position : position + 4096])
        except ConnectionError:
            pass
        assert read_to_end(connection).startswith(b"HTTP/1.1 431 ")


def test_a_token_of_usual_size_fits(start: Callable[..., Program]) -> None:
    """12 kB of header are taken."""
    program = start()
    assert httpx.get(f"{program.url}/echo", headers={"x": "a" * 12_000}).status_code == 200


@pytest.mark.parametrize(
    "garbage",
    [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 5, b"hello\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x00" * 100],
)
def test_what_is_no_http_gets_400(start: Callable[..., Program], garbage: bytes) -> None:
    """A problem document, and nothing of it in the log."""
    program = start()
    with program.connect() as connection:
        connection.sendall(garbage)
        answer = read_to_end(connection)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in answer
    assert "127.0.0.1:" not in program.text().replace(f"http://127.0.0.1:{program.port}", "")


def test_a_body_too_large_is_refused_before_it_is_read(start: Callable[..., Program]) -> None:
    """The refusal comes before the body, and a client that sends it nevertheless can read the refusal."""
    program = start(body_seconds=5.0)
    with program.connect() as connection:
        connection.sendall(POST + b"Content-Length: 1000000\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")
    for path in ("/echo", "/v1/echo"):
        answer = httpx.post(f"{program.url}{path}", content=b"x" * 1_000_000)
        assert answer.status_code == 413

        def chunks() -> Iterator[bytes]:
            yield from (b"x" * 1000 for _ in range(1000))

        answer = httpx.post(f"{program.url}{path}", content=chunks())
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (413, "body")


def test_a_refused_body_that_came_whole_leaves_an_idle_connection(start: Callable[..., Program]) -> None:
    """The body that was thrown away stopped uvicorn's keep-alive timer; the connection is closed all the same."""
    with start(body_seconds=5.0).connect() as connection:
        connection.sendall(POST + b"Content-Length: 100000\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")
        connection.sendall(b"x" * 100_000)
        began = time.monotonic()
        read_to_end(connection)
        assert time.monotonic() - began < 4


def test_beyond_the_connection_limit_it_is_503_but_probes_are_answered(start: Callable[..., Program]) -> None:
    """Ten connections are served; the next are told to come back; health and metrics answer all the same."""
    program = start(connections=10, header_seconds=5.0, body_seconds=5.0, keep_alive_seconds=5.0)
    with ExitStack() as stack:
        for _ in range(10):
            stack.enter_context(program.connect()).sendall(POST + b"Content-Length: 9\r\n\r\n")
        with httpx.Client(base_url=program.url) as client:
            wait_for(lambda: client.get("/echo").status_code == 503)
            answer = client.get("/echo")
            assert answer.status_code == 503
            assert 1 <= int(answer.headers["retry-after"]) <= 5
            assert answer.headers["content-type"] == "application/problem+json"
            for path in ("/health/live", "/health/ready", "/metrics"):
                assert client.get(path).status_code == 200
        flood = [stack.enter_context(program.connect()) for _ in range(15)]
        assert read_to_end(flood[-1]).startswith(b"HTTP/1.1 503 ")
    wait_for(lambda: httpx.get(f"{program.url}/echo").status_code == 200)


def test_sigterm_finishes_what_has_begun(start: Callable[..., Program]) -> None:
    """The request in flight gets its answer, then the lifespan is closed, and the process ends with 0."""
    program = start()
    with program.connect() as connection:
        connection.sendall(b"GET /slow?seconds=1 HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for(lambda: "slow begun" in program.text())
        program.process.send_signal(signal.SIGTERM)
        assert read_to_end(connection).endswith(b"finished")
    assert program.process.wait(LONG) == 0
    text = program.text()
    assert text.index('"route": "/slow", "status": 200') < text.index("closed")


def test_sigterm_does_not_wait_for_clients_that_trickle(start: Callable[..., Program]) -> None:
    """The deadlines go on during the shutdown."""
    program = start()
    with program.connect() as connection:
        connection.sendall(POST + b"Content-Length: 9\r\n\r\n")
        program.process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        assert program.process.wait(LONG) == 0
        assert time.monotonic() - began < 3


def test_sighup_reloads_and_a_failing_reload_changes_nothing(start: Callable[..., Program]) -> None:
    """All registered functions run; what one raises is logged without its values."""
    program = start()
    program.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "reloaded" in program.text())
    assert "Reload on SIGHUP failed" in program.text()
    assert "Geheim" not in program.text()
    assert httpx.get(f"{program.url}/echo").status_code == 200


def test_a_stale_schema_ends_with_78_and_a_sentence(start: Callable[..., Program]) -> None:
    """What to run is said in one plain sentence, without a traceback."""
    program = start("stale")
    assert program.process.wait(LONG) == 78
    assert program.text().strip() == (
        "sample can't start: the schema lacks 0002; run: python -m shared.migrate services.sample"
    )


def test_a_taken_port_ends_with_a_sentence(start: Callable[..., Program]) -> None:
    """It names the port, closes what was open and does not end with 0."""
    first = start()
    command = [sys.executable, "-m", "tests.integration.web.program", str(first.port), "{}"]
    second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LONG, check=False)
    assert second.returncode == 75
    assert second.stderr == f"sample can't listen on 127.0.0.1:{first.port}; is it in use?\n"
    assert "closed" in second.stdout


def test_no_log_line_tells_who_asked_for_what(start: Callable[..., Program]) -> None:
    """No path, no query, no address, no user agent: only the route template."""
    program = start()
    httpx.get(f"{program.url}/echo?name=Geheim", headers={"user-agent": "Geheim/1.0", "x-forwarded-for": "203.0.113.9"})
    httpx.get(f"{program.url}/Geheim/path")
    wait_for(lambda: '"route": "unmatched"' in program.text())
    assert '"route": "/echo"' in program.text()
    assert "Geheim" not in program.text()
    assert "203.0.113.9" not in program.text()
    for line in program.text().splitlines():
        if line.startswith("{"):
            json.loads(line)
