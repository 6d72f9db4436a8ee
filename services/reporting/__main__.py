"""``python -m services.reporting``: runs the service until it is told to stop."""

import sys

from services.reporting.app import NAME, build
from services.reporting.config import ReportingSettings
from shared.process import run_service

if __name__ == "__main__":
    sys.exit(run_service(NAME, ReportingSettings, build))
