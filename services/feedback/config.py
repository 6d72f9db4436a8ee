"""Settings of feedback: one frozen class, prefix FEEDBACK_."""

from pydantic import SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from shared.settings import ServiceSettings

SHORTEST_RECEIPT_KEY = 32


class FeedbackSettings(ServiceSettings):
    """What feedback is told from outside."""

    model_config = SettingsConfigDict(env_prefix="FEEDBACK_")

    port: int = 8001

    receipt_key: SecretStr
    """Keys the receipt codes and their look-up hashes; kept outside the database, at least 32 characters."""

    @field_validator("receipt_key")
    @classmethod
    def _is_long_enough(cls, value: SecretStr) -> SecretStr:
        if len(value.get_secret_value()) < SHORTEST_RECEIPT_KEY:
            raise ValueError(f"needs at least {SHORTEST_RECEIPT_KEY} characters; for example: openssl rand -hex 32")
        return value
