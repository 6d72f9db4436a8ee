"""Runs all benchmarks, or those named in ``ONLY=P1,P2``; prints one table and writes ``results.json``."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks.edge import complaint_on_the_full_way, rating_without_text
from tests.benchmarks.figures import Figure, could_not_run, print_table, write_results
from tests.benchmarks.footprint import footprint
from tests.benchmarks.load import LoadUnavailable
from tests.benchmarks.stack import SERVICES, Stack, running_stack
from tests.benchmarks.whole_way import whole_way

RESULTS = Path("tests/benchmarks/results.json")
ON_A_STACK: dict[str, tuple[tuple[str, ...], Callable[[Stack], list[Figure]]]] = {
    "P1": (("feedback",), rating_without_text),
    "P1b": (("feedback",), complaint_on_the_full_way),
    "P2": (SERVICES, whole_way),
}
ALONE: dict[str, Callable[[], list[Figure]]] = {"P6": footprint}


def _on_a_fresh_stack(identifier: str) -> list[Figure]:
    print(f"{identifier} …", file=sys.stderr, flush=True)
    try:
        if identifier in ALONE:
            return ALONE[identifier]()
        services, measure = ON_A_STACK[identifier]
        with running_stack(services) as stack:
            return measure(stack)
    except LoadUnavailable as error:
        return [could_not_run(identifier, "–", str(error))]


def main() -> int:
    """Returns 2 for an unknown name in ``ONLY``, 1 if a goal is not met or a benchmark could not run, else 0."""
    known = [*ON_A_STACK, *ALONE]
    chosen = [name for name in os.environ.get("ONLY", "").split(",") if name] or known
    if unknown := [name for name in chosen if name not in known]:
        print(f"ONLY={','.join(unknown)}: no such benchmark; there are {', '.join(known)}", file=sys.stderr)
        return 2
    figures = [figure for name in chosen for figure in _on_a_fresh_stack(name)]
    print_table(figures)
    write_results(figures, RESULTS)
    return 0 if all(figure.met for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
