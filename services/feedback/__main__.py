"""``python -m services.feedback``: one process, until SIGTERM."""

import sys

from services.feedback.app import NAME, build
from services.feedback.config import FeedbackSettings
from shared.process import run_service

if __name__ == "__main__":
    sys.exit(run_service(NAME, FeedbackSettings, build))
