"""What every service is told from outside. Each service adds its own class with its own prefix."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class ServiceSettings(BaseSettings):
    """Settings of one process, read once from the environment and frozen.

    Fields with an alias are shared by all services and carry no prefix.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    host: str = "127.0.0.1"
    port: int
    database_url: str
    """The service's own role: reads and writes rows, changes no table."""
    migration_database_url: str = ""
    """The role that owns the tables; empty means ``database_url``. Used by migrations only."""
    pool_size: int = Field(default=8, ge=2, le=100)

    kafka_bootstrap_servers: str = Field(default="127.0.0.1:19092", alias="KAFKA_BOOTSTRAP_SERVERS")
    topics_file: Path = Field(default=Path("deploy/kafka/topics.toml"), alias="TOPICS_FILE")
    catalogue_file: Path = Field(default=Path("deploy/catalogue.toml"), alias="CATALOGUE_FILE")
    oidc_issuer: str = Field(default="http://127.0.0.1:8009", alias="OIDC_ISSUER")
    oidc_audience: str = Field(default="blitzableiter", alias="OIDC_AUDIENCE")
    oidc_roles_claim: str = Field(default="roles", alias="OIDC_ROLES_CLAIM")
    oidc_offices_claim: str = Field(default="offices", alias="OIDC_OFFICES_CLAIM")
    log_level: str = Field(default="INFO", alias="LOG_LEVEL")
