"""One measured figure, its yardstick and its goal; printed as measured."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median


@dataclass(frozen=True, slots=True)
class Figure:
    """``met`` is ``None`` where the benchmark could not run; ``note`` then says why."""

    id: str
    what: str
    ours: str
    yardstick: str
    ratio: str
    goal: str
    met: bool | None
    note: str = ""


def spread(values: Sequence[float]) -> str:
    """Median with minimum and maximum of the rounds."""
    return f"{median(values):,.0f} ({min(values):,.0f}–{max(values):,.0f})"


def could_not_run(identifier: str, what: str, why: str) -> Figure:
    """A benchmark that did not run is never counted as passed."""
    return Figure(identifier, what, "–", "–", "–", "–", None, why)


def print_table(figures: Sequence[Figure]) -> None:
    """One line a figure, the note below it."""
    rows = [("id", "figure", "ours", "yardstick, same run", "ratio", "goal", "met")]
    rows += [
        (f.id, f.what, f.ours, f.yardstick, f.ratio, f.goal, {True: "yes", False: "NO", None: "not run"}[f.met])
        for f in figures
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for number, row in enumerate(rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        if number and (note := figures[number - 1].note):
            print(f"      {note}")


def write_results(figures: Sequence[Figure], path: Path) -> None:
    """Writes the figures as JSON, with the machine they were measured on."""
    machine = {"python": platform.python_version(), "machine": platform.machine(), "cores": _cores()}
    path.write_text(
        json.dumps({"machine": machine, "figures": [asdict(f) for f in figures]}, indent=2, ensure_ascii=False) + "\n"
    )


def _cores() -> int:
    return len(os.sched_getaffinity(0))
