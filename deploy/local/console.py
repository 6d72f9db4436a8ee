"""What the supervisor shows: plain text everywhere, with a little weight on a terminal."""

import os
import sys
from collections.abc import Sequence

from deploy.local.plan import Plan

_HEADER = ("component", "version", "address", "state")


def say(line: str) -> None:
    """Print a line at once; a reader that went away is no reason to stop."""
    try:
        print(line, flush=True)
    except OSError:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - lives as long as the process


def show_table(rows: Sequence[tuple[str, str, str, str]]) -> None:
    """One table of what runs, columns as wide as they need to be."""
    widths = [max(len(row[column]) for row in [_HEADER, *rows]) for column in range(len(_HEADER))]
    say("")
    for number, row in enumerate([_HEADER, *rows]):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        say(f"\033[1m{line}\033[0m" if number == 0 and sys.stdout.isatty() else line)
    say("")


def show_addresses(plan: Plan) -> None:
    """Where to look first."""
    feedback, incidents, reporting = (plan.service_url(name) for name in ("feedback", "incidents", "reporting"))
    offset = f"PORT_OFFSET={plan.offset} " if plan.offset else ""
    addresses = [
        ("form", f"{feedback}/"),
        ("incidents", f"{incidents}/v1/incidents"),
        ("reports", f"{reporting}/v1/causes"),
        ("metrics", f"{reporting}/metrics"),
        ("a token", f"{offset}make -s token role=quality_manager"),
    ]
    for name, address in addresses:
        say(f"{name:<10} {address}")
    say("")
