"""``python -m services.incidents``: one process, until SIGTERM."""

import sys

from services.incidents.app import NAME, build
from services.incidents.config import IncidentsSettings
from shared.process import run_service

if __name__ == "__main__":
    sys.exit(run_service(NAME, IncidentsSettings, build))
