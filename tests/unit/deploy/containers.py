"""What the container tests read: the compose file, the settings classes, the Dockerfile."""

import re
from pathlib import Path
from typing import Any

import yaml

from services.feedback.config import FeedbackSettings
from services.incidents.config import IncidentsSettings
from services.reporting.config import ReportingSettings
from shared.settings import ServiceSettings

ROOT = Path(__file__).parent.parent.parent.parent
SETTINGS: dict[str, type[ServiceSettings]] = {
    "feedback": FeedbackSettings,
    "incidents": IncidentsSettings,
    "reporting": ReportingSettings,
}


def compose() -> dict[str, Any]:
    """The compose file with its anchors resolved, variables as written."""
    document: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return document


def variables_of(settings: type[ServiceSettings]) -> dict[str, bool]:
    """The environment variables that a settings class reads; True for those that must be set."""
    prefix = settings.model_config.get("env_prefix", "")
    return {
        str(field.alias or f"{prefix}{name}").upper(): field.is_required()
        for name, field in settings.model_fields.items()
    }


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions in order, continued lines joined: (keyword, rest)."""
    text = re.sub(r"\\\n", " ", (ROOT / "deploy" / "Dockerfile").read_text())
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split(None, 1)[0].upper(), line.split(None, 1)[1]) for line in lines]
