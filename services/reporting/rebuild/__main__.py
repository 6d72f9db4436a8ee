"""``python -m services.reporting.rebuild [--verify]``."""

import argparse
import asyncio
import logging
import sys
from collections.abc import Sequence

import asyncpg
from aiokafka.errors import KafkaError
from pydantic import ValidationError

from services.reporting.config import ReportingSettings
from services.reporting.rebuild.progress import Progress
from services.reporting.rebuild.replay import LogStalled
from services.reporting.rebuild.run import RebuildRunning, Result, rebuild
from services.reporting.rebuild.schema import LogIncomplete
from shared.catalogue import CatalogueFile, CatalogueRefused
from shared.postgres import is_busy

EX_TEMPFAIL = 75
EX_CONFIG = 78


def main(arguments: Sequence[str]) -> int:
    """0: identical; 1: not, or refused; 75: database, broker or lock not to be had; 78: bad configuration."""
    parser = argparse.ArgumentParser(prog="python -m services.reporting.rebuild", description=__doc__)
    parser.add_argument("--verify", action="store_true", help="compare only: the rebuilt tables are thrown away")
    verify_only: bool = parser.parse_args(arguments).verify
    logging.basicConfig(level=logging.ERROR)
    try:
        settings = ReportingSettings()
        catalogue = CatalogueFile(settings.catalogue_file).current
        result = asyncio.run(rebuild(settings, lambda: catalogue, Progress(sys.stderr), verify_only=verify_only))
    except (Exception, KeyboardInterrupt) as error:
        code, sentence = _explain(error)
        print(sentence, file=sys.stderr)
        return code
    show(result)
    return 0 if result.identical else 1


def show(result: Result) -> None:
    """One line a table, and the verdict."""
    print(f"{'table':<18}{'rows':>14}  result")
    for table in result.tables:
        difference = f"DIFFERS: {table.only_before:,} rows only before, {table.only_after:,} only after the rebuild"
        print(f"{table.table:<18}{table.rows:>14,}  {'identical' if table.identical else difference}")
    if result.dead:
        print(f"{result.dead:,} records could not be read, as before; see `make dlq`.")
    verdict = "All tables are identical" if result.identical else "The tables differ"
    print(f"{verdict}; {'the rebuilt ones are live' if result.swapped else 'nothing was swapped'}.")


def _explain(error: BaseException) -> tuple[int, str]:  # noqa: PLR0911 - one line a kind of failure
    """Exit code and sentence; raises what nobody expected."""
    match error:
        case ValidationError() | CatalogueRefused():
            name = type(error).__name__
            return EX_CONFIG, f"The configuration does not fit ({name}), see services/reporting/config.py."
        case RebuildRunning():
            return EX_TEMPFAIL, "Another rebuild is running."
        case LogIncomplete():
            return 1, f"The log gives fewer rows than there are ({error}); the live tables stay as they are."
        case LogStalled():
            return EX_TEMPFAIL, f"The broker gives out no records of {error}; run it again to go on."
        case KeyboardInterrupt():
            return 130, "Interrupted; run it again to go on."
        case _ if is_busy(error) or isinstance(error, KafkaError):
            return EX_TEMPFAIL, f"Stopped: {type(error).__name__}; run it again to go on."
        case asyncpg.PostgresError():
            return 1, f"PostgreSQL refused: {error}; nothing was swapped."
        case _:
            raise error


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
