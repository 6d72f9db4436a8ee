"""Feedback's own metrics, beside those of the plumbing. No office, no language, no word of a client."""

from uuid import UUID

from prometheus_client import CollectorRegistry, Gauge

from services.feedback.projection import PublicIncidents
from services.feedback.store import NewReport
from shared.groupcommit import GroupCommit


class FeedbackMetrics:
    """What only feedback can tell."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._known_faults = Gauge(
            "blitz_feedback_known_faults", "Public incidents shown to clients at this moment.", registry=registry
        )
        self._waiting = Gauge(
            "blitz_feedback_reports_waiting", "Reports that wait for their shared commit.", registry=registry
        )

    def watch(self, incidents: PublicIncidents, commits: GroupCommit[NewReport, UUID]) -> None:
        """Reads these from now on, whenever scraped."""
        self._known_faults.set_function(lambda: len(incidents.current))
        self._waiting.set_function(lambda: commits.waiting)
