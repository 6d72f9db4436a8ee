"""``python -m deploy.demo``: complaints, ratings, heat and real exceptions through the running stack, then the result.

Everything goes through the public routes, as clients, staff and programs would use them. What a quality manager
would do (confirm, mitigate, fix) is done with a token of that role, and the output says so.
"""

import asyncio
import os
import sys

import httpx

from deploy.demo.outcome import print_outcome
from deploy.demo.sending import send_everything
from deploy.demo.stack import Stack, StackUnreachable
from deploy.demo.triage import triage


async def demonstrate() -> None:
    """Sends, waits until every signal has arrived, triages, prints."""
    timeout = httpx.Timeout(30.0)
    async with httpx.AsyncClient(timeout=timeout, trust_env=False) as client:
        stack = await Stack.open(client, os.environ)
        before = await stack.signal_count()
        sent = await send_everything(stack)
        print(f"Sent {sent}.")
        await stack.settle(before + sent.signals)
        decisions = await triage(stack)
        await print_outcome(stack, decisions, sent.complaints)


def main() -> int:
    """Returns the exit code: 0, or 1 with a plain sentence when the stack does not answer."""
    try:
        asyncio.run(demonstrate())
    except StackUnreachable as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
