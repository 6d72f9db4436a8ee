"""Settings of incidents: one frozen class, prefix INCIDENTS_."""

from pydantic_settings import SettingsConfigDict

from shared.settings import ServiceSettings


class IncidentsSettings(ServiceSettings):
    """What incidents is told from outside."""

    model_config = SettingsConfigDict(env_prefix="INCIDENTS_")

    port: int = 8002
