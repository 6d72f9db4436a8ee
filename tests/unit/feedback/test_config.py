"""Settings that would make receipts guessable are refused at start."""

import os
import subprocess
import sys

import pytest
from pydantic import ValidationError

from services.feedback.config import FeedbackSettings


def test_a_short_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """At least 32 characters."""
    monkeypatch.setenv("FEEDBACK_DATABASE_URL", "postgresql://localhost/feedback")
    monkeypatch.setenv("FEEDBACK_RECEIPT_KEY", "x" * 31)
    with pytest.raises(ValidationError):
        FeedbackSettings()
    monkeypatch.setenv("FEEDBACK_RECEIPT_KEY", "x" * 32)
    assert "x" * 32 not in repr(FeedbackSettings())


def test_the_process_says_what_is_wrong() -> None:
    """Exit code 78, one plain sentence that names the variable and repeats no secret."""
    environment = {
        **os.environ,
        "FEEDBACK_DATABASE_URL": "postgresql://localhost/x",
        "FEEDBACK_RECEIPT_KEY": "tooshort",
    }
    done = subprocess.run(
        [sys.executable, "-m", "services.feedback"],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 78
    assert "FEEDBACK_RECEIPT_KEY" in done.stderr
    assert "32 characters" in done.stderr
    assert "tooshort" not in done.stderr
    assert "Traceback" not in done.stderr
