"""What the demonstration prints: incidents, the system-error share, addresses, and one line to try."""

import asyncio
import time

from deploy.demo.stack import Json, Stack

SHOWN = 12
WAIT_SECONDS = 20.0


def _line(incident: Json) -> str:
    counts = incident["counts"]
    signals = f"{counts['report']:>4} {counts['error']:>5} {counts['heat']:>4}"
    offices = incident["offices"]
    where = ", ".join(offices[:3]) + (f" +{len(offices) - 3}" if len(offices) > 3 else "")
    seen = f"{incident['first_seen_at'][11:19]}  {incident['last_seen_at'][11:19]}"
    return f"{incident['state']:<11}{signals}  {seen}  {where:<26} {incident['title']}"


async def _causes(stack: Stack, complaints: int) -> Json:
    """The causes once reporting has counted every complaint, or what it has after twenty seconds."""
    end = time.monotonic() + WAIT_SECONDS
    while True:
        total: Json = (await stack.get(f"{stack.reporting}/v1/causes"))["total"]
        if total["n"] >= complaints or time.monotonic() > end:
            return total
        await asyncio.sleep(0.5)


async def print_outcome(stack: Stack, decisions: list[str], complaints: int) -> None:
    """Prints to standard output, plain text. ``complaints``: how many reporting should have counted at least."""
    incidents = [incident async for incident in stack.all_incidents(state="any")]
    incidents.sort(key=lambda incident: -sum(incident["counts"].values()))
    causes = await _causes(stack, complaints)

    print("\nIncidents, the largest first (times in UTC)")
    print(f"{'state':<11}{'rep.':>4} {'error':>5} {'heat':>4}  first     last      {'offices':<26} title")
    for incident in incidents[:SHOWN]:
        print(_line(incident))
    if len(incidents) > SHOWN:
        print(f"… and {len(incidents) - SHOWN} more with fewer signals")
    print("\nThe demo's quality manager did:")
    for decision in decisions:
        print(f"  {decision}")
    share = causes["system_error_share"]
    print(
        f"\nSystem errors are {share['share']:.0%} of {causes['n']} complaints"
        f" (95 % interval {share['low']:.0%}–{share['high']:.0%})"
    )
    print(f"""
Form       {stack.feedback}/
Incidents  {stack.incidents}/v1/incidents      (token: make token role=quality_manager)
Reports    {stack.reporting}/v1/satisfaction   (token: make token role=reporter)
Metrics    {stack.reporting}/metrics

Try it:
  curl -s {stack.feedback}/v1/reports -H 'Content-Type: application/json' \\
    -d '{{"office": "JC-001", "service": "document-upload", "text": "Der Upload bricht immer ab."}}'""")
