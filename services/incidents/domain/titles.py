"""Titles of incidents: built from the catalogue, ticked reasons and code places, never from a client's words."""

from collections.abc import Mapping

MAX_LABEL_LENGTH = 90

DRIVER_LABELS: Mapping[str, str] = {
    "employee": "Umgang und Beratung",
    "it_online": "Technik und Online-Dienste",
    "letter_decision": "Ärger mit Briefen und Bescheiden",
    "waiting_reachability": "Wartezeit und Erreichbarkeit",
    "documents_lost": "verlorene Unterlagen",
    "payment": "Ärger mit der Zahlung",
    "appointment": "Ärger mit Terminen",
    "other": "Sonstiges",
}
REPORT_LABEL = "gemeldete Störung"
HEAT_LABEL = "Häufung von Ärger am Schalter"


def report_title(service_name: str, drivers: Mapping[str, int]) -> str:
    """Service and the reason ticked most often (ties by name); without any reason a neutral label."""
    known = [(-count, driver) for driver, count in drivers.items() if driver in DRIVER_LABELS and driver != "other"]
    label = DRIVER_LABELS[min(known)[1]] if known else REPORT_LABEL
    return f"{service_name}: {label}"


def heat_title(service_name: str) -> str:
    return f"{service_name}: {HEAT_LABEL}"


def error_title(service_name: str, label: str) -> str:
    """Service and the error's type with its code place; a neutral label when there is neither."""
    one_line = " ".join(label.split())
    if len(one_line) > MAX_LABEL_LENGTH:
        one_line = one_line[: MAX_LABEL_LENGTH - 1].rstrip() + "…"
    return f"{service_name}: {one_line or 'technischer Fehler'}"


def numbered(title: str, number: int) -> str:
    """The title of the ``number``-th incident that would be called so."""
    return title if number <= 1 else f"{title} ({number})"
