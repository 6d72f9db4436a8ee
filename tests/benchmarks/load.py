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
from uuid import UUID

import httpx

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


async def open_loop(url: str, bodies: Sequence[object], *, rate: float, token: str, answers: list[Answer]) -> None:
    """Sends each body at its intended instant, whatever the answers do; appends to ``answers`` as they come in."""
    headers = {"Authorization": f"Bearer {token}"}
    limits = httpx.Limits(max_connections=256, max_keepalive_connections=256)
    async with httpx.AsyncClient(limits=limits, timeout=60, trust_env=False, headers=headers) as client:
        start = time.perf_counter() + 0.2

        async def send(number: int, body: object) -> None:
            intended = start + number / rate
            await asyncio.sleep(max(0.0, intended - time.perf_counter()))
            answer = await client.post(url, json=body)
            answer.raise_for_status()
            answers.append(Answer(UUID(answer.json()["report_id"]), intended, time.perf_counter()))

        await asyncio.gather(*(send(number, body) for number, body in enumerate(bodies)))


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that ``share`` of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
