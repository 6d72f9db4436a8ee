"""The input of the demonstration: complaints in six languages, ratings, heat, and real exceptions."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

from deploy.demo.stack import Json, Stack, StackUnreachable
from shared.catalogue import load_catalogue

COMPLAINTS = Path(__file__).with_name("complaints.jsonl")
CATALOGUE = Path("deploy/catalogue.toml")
SENTRY_PROJECT = "1"
RATINGS = 80
UPLOADS = 40
PROGRAM = "import sys; from deploy.demo.faulty_upload import run; print(run(sys.argv[1], int(sys.argv[2])))"
AT_ONCE = 16
DRIVERS_BY_SERVICE = {
    "document-upload": "documents_lost",
    "online-portal": "it_online",
    "payment": "payment",
    "decision-letter": "letter_decision",
    "phone": "waiting_reachability",
    "appointment": "appointment",
}
HEAT = [(office, service) for office in ("JC-001", "JC-002", "JC-003", "JC-004") for service in DRIVERS_BY_SERVICE][:12]


@dataclass(frozen=True, slots=True)
class Sent:
    """How much went in, by kind."""

    complaints: int
    ratings: int
    heat: int
    errors: int

    @property
    def signals(self) -> int:
        """What incidents will hold of it: a rating without words belongs to no incident."""
        return self.complaints + self.heat + self.errors

    def __str__(self) -> str:
        return (
            f"{self.complaints} complaints, {self.ratings} ratings, {self.heat} heat presses"
            f" and {self.errors} exceptions of a faulty upload program"
        )


def _complaints() -> list[Json]:
    rows = [json.loads(line) for line in COMPLAINTS.read_text(encoding="utf-8").splitlines() if line]
    bodies = []
    for row in rows:
        drivers = [DRIVERS_BY_SERVICE[row["service"]]] if row["service"] in DRIVERS_BY_SERVICE else []
        if row["blames_staff"]:
            drivers.append("employee")
        bodies.append(
            {key: row[key] for key in ("office", "service", "lang", "text")}
            | {"kind": "complaint", "channel": "web", "drivers": drivers}
        )
    return bodies


def _ratings(offices: Iterable[str], services: Iterable[str]) -> list[Json]:
    dice = Random(7)  # noqa: S311 - the same demonstration every time, no secret
    offices, services = sorted(offices), sorted(services)
    return [
        {
            "office": dice.choice(offices),
            "service": dice.choice(services),
            "lang": dice.choice(["de", "de", "de", "en", "tr", "ar", "uk", "ru"]),
            "kind": "rating",
            "channel": dice.choice(["web", "kiosk", "phone"]),
            "rating": dice.choices([1, 2, 3, 4, 5], weights=[2, 2, 3, 6, 5])[0],
        }
        for _ in range(RATINGS)
    ]


async def _all_at_most(limit: int, calls: Iterable[Awaitable[object]]) -> None:
    gate = asyncio.Semaphore(limit)

    async def one(call: Awaitable[object]) -> None:
        async with gate:
            await call

    await asyncio.gather(*(one(call) for call in calls))


async def _send_exceptions(stack: Stack, public_key: str) -> int:
    """Runs the faulty program as a process of its own, with a DSN like any other program of the office."""
    address = urlsplit(stack.incidents)
    dsn = f"{address.scheme}://{public_key}@{address.netloc}/{SENTRY_PROJECT}"
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM, dsn, str(UPLOADS)), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await program.communicate()
    if program.returncode:
        raise StackUnreachable(f"The faulty upload program ended with {program.returncode}.")
    return int(out.split()[-1])


async def send_everything(stack: Stack) -> Sent:
    """Sends all of it; a refusal stops the demonstration with its reason."""
    catalogue = load_catalogue(CATALOGUE)
    complaints, ratings = _complaints(), _ratings(catalogue.offices, catalogue.services)
    reports = f"{stack.feedback}/v1/reports"
    await _all_at_most(AT_ONCE, (stack.post(reports, body, stack.integration) for body in complaints + ratings))
    await _all_at_most(
        AT_ONCE,
        (
            stack.post(f"{stack.incidents}/v1/heat", {"office": office, "service": service}, stack.frontline)
            for office, service in HEAT
        ),
    )
    errors = await _send_exceptions(stack, catalogue.sentry_projects[SENTRY_PROJECT].public_key)
    return Sent(len(complaints), len(ratings), len(HEAT), errors)
