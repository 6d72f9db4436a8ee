"""Settings of feedback: one frozen class, prefix FEEDBACK_."""

from pydantic import SecretStr
from pydantic_settings import SettingsConfigDict

from shared.settings import ServiceSettings


class FeedbackSettings(ServiceSettings):
    """What feedback is told from outside."""

    model_config = SettingsConfigDict(env_prefix="FEEDBACK_")

    port: int = 8001

    receipt_key: SecretStr
    """Keys the receipt codes and their look-up hashes; kept outside the database, at least 32 characters."""
