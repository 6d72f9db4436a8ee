"""``python -m services.incidents``: one process, until SIGTERM."""

import sys

from pydantic import ValidationError

from services.incidents.app import NAME, build
from services.incidents.config import IncidentsSettings
from shared.catalogue import CatalogueRefused
from shared.logs import configure
from shared.server import EX_CONFIG, serve


def main() -> int:
    """Runs the service and returns the exit code: 78 for settings, a catalogue or a schema that do not fit."""
    try:
        settings = IncidentsSettings()
        configure(NAME, settings.log_level)
        app = build(settings)
    except ValidationError as error:
        for wrong in error.errors(include_input=False, include_url=False):
            name = ".".join(str(part) for part in wrong["loc"])
            print(f"{NAME} can't start: setting {_variable(name)}: {wrong['msg']}", file=sys.stderr)
        return EX_CONFIG
    except (CatalogueRefused, ValueError) as error:
        print(f"{NAME} can't start: {error}", file=sys.stderr)
        return EX_CONFIG
    return serve(app, settings)


def _variable(field: str) -> str:
    """The environment variable of a setting: those with an alias are named by it, the others carry the prefix."""
    return field if field.isupper() else f"INCIDENTS_{field.upper()}"


if __name__ == "__main__":
    sys.exit(main())
