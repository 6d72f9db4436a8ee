"""``python -m services.reporting``: runs the service until it is told to stop."""

import sys

from pydantic import ValidationError

from services.reporting.app import build
from services.reporting.config import ReportingSettings
from shared.catalogue import CatalogueRefused
from shared.logs import configure
from shared.server import EX_CONFIG, serve


def main() -> int:
    """Returns the exit code; 78 with one sentence when the configuration does not fit."""
    try:
        settings = ReportingSettings()
        configure("reporting", settings.log_level)
        app = build(settings)
    except ValidationError as error:
        fields = ", ".join(f"REPORTING_{part['loc'][0]}".upper() for part in error.errors() if part["loc"])
        print(f"reporting can't start: missing or wrong in the environment: {fields}", file=sys.stderr)
        return EX_CONFIG
    except (CatalogueRefused, ValueError) as error:
        print(f"reporting can't start: {error}", file=sys.stderr)
        return EX_CONFIG
    return serve(app, settings)


if __name__ == "__main__":
    sys.exit(main())
