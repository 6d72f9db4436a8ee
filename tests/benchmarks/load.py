"""Closed-loop load with ``wrk``, and open-loop load at a fixed rate without coordinated omission."""

import asyncio
import json
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

CONNECTIONS = 128
INSTALL = "wrk is not installed: apt-get install wrk"
SCRIPT = """
local bodies = {}
for line in io.lines("%s") do bodies[#bodies + 1] = line end
local n = 0
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
%s
request = function()
  n = n + 1
  return wrk.format(nil, nil, nil, bodies[(n %% #bodies) + 1])
end
"""


class LoadUnavailable(Exception):
    """The load generator is missing; the message says how to install it."""


def closed_loop(url: str, bodies: Sequence[object], *, seconds: int, connections: int = 64, token: str = "") -> float:
    """Posts ``bodies`` in turn over ``connections`` kept open; returns answers per second.

    Raises ``LoadUnavailable`` without wrk and ``RuntimeError`` when anything but 2xx comes back.
    """
    if not shutil.which("wrk"):
        raise LoadUnavailable(INSTALL)
    with tempfile.TemporaryDirectory() as folder:
        lines, script = Path(folder, "bodies.jsonl"), Path(folder, "post.lua")
        lines.write_text("\n".join(json.dumps(body) for body in bodies) + "\n")
        header = f'wrk.headers["Authorization"] = "Bearer {token}"' if token else ""
        script.write_text(SCRIPT % (lines, header))
        out = subprocess.run(
            ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(script), url],
            capture_output=True, text=True, check=True, timeout=seconds + 30,
        ).stdout  # fmt: skip
    if "Non-2xx" in out or "Socket errors" in out:
        raise RuntimeError(f"not only 2xx from {url}:\n{out}")
    found = re.search(r"Requests/sec:\s+([\d.]+)", out)
    if not found:
        raise RuntimeError(f"wrk said nothing about requests:\n{out}")
    return float(found.group(1))


@dataclass(frozen=True, slots=True)
class Answer:
    """One accepted report: when it was meant to be sent and when it was answered (``time.perf_counter`` seconds)."""

    report_id: UUID
    intended_at: float
    answered_at: float


class _Connection:
    """One kept-alive HTTP connection, spoken by hand: a client library would be slower than the service it measures."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def post(self, head: bytes, body: bytes) -> bytes:
        """The body of a 202. Raises ``RuntimeError`` for anything else."""
        self._writer.write(b"%sContent-Length: %d\r\n\r\n%s" % (head, len(body), body))
        answer = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = int(answer.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
        content = await self._reader.readexactly(length)
        if not answer.startswith(b"http/1.1 202"):
            raise RuntimeError(content.decode(errors="replace"))
        return content

    def close(self) -> None:
        self._writer.close()


async def open_loop(url: str, bodies: Sequence[object], *, rate: float, token: str, answers: list[Answer]) -> None:
    """Sends each body at its intended instant, or as soon as one of 128 connections is free; latency counts from the
    intended instant, so a wait for a connection is part of it. Appends to ``answers`` as they come in."""
    address = urlsplit(url)
    head = (
        f"POST {address.path} HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {token}\r\n"
    ).encode()
    payloads = [json.dumps(body).encode() for body in bodies]
    start, number = time.perf_counter() + 0.2, iter(range(len(payloads)))

    async def send() -> None:
        connection = _Connection(*await asyncio.open_connection(address.hostname, address.port))
        try:
            for mine in number:
                intended = start + mine / rate
                if (early := intended - time.perf_counter()) > 0:
                    await asyncio.sleep(early)
                report_id = UUID(json.loads(await connection.post(head, payloads[mine]))["report_id"])
                answers.append(Answer(report_id, intended, time.perf_counter()))
        finally:
            connection.close()

    await asyncio.gather(*(send() for _ in range(CONNECTIONS)))


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that ``share`` of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
