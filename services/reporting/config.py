"""Settings of reporting: one frozen class, prefix REPORTING_."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared.settings import ServiceSettings


class ReportingSettings(ServiceSettings):
    """What reporting is told from outside."""

    model_config = SettingsConfigDict(env_prefix="REPORTING_")

    port: int = 8003

    smallest_group: int = Field(default=3, ge=3)
    """k: a group of fewer reports shows no figure."""
