"""The closed sets of words in events and routes. Adding a word is additive; removing one is a break."""

from enum import StrEnum


class Channel(StrEnum):
    WEB = "web"
    KIOSK = "kiosk"
    PHONE = "phone"
    COUNTER = "counter"
    LETTER = "letter"
    IMPORT = "import"


class Kind(StrEnum):
    COMPLAINT = "complaint"
    RATING = "rating"
    PRAISE = "praise"
    SUGGESTION = "suggestion"


class Driver(StrEnum):
    """The reasons a client may tick."""

    EMPLOYEE = "employee"
    IT_ONLINE = "it_online"
    LETTER_DECISION = "letter_decision"
    WAITING_REACHABILITY = "waiting_reachability"
    DOCUMENTS_LOST = "documents_lost"
    PAYMENT = "payment"
    APPOINTMENT = "appointment"
    OTHER = "other"


class Cause(StrEnum):
    """What lies behind a complaint."""

    SYSTEM = "system"
    PROCESS = "process"
    BEHAVIOUR = "behaviour"
    DECISION = "decision"
    UNCLEAR = "unclear"


class Language(StrEnum):
    """Languages of clients; an unknown one is stored as ``other``."""

    DE = "de"
    DE_EASY = "de-easy"
    EN = "en"
    TR = "tr"
    AR = "ar"
    UK = "uk"
    RU = "ru"
    OTHER = "other"


class SignalKind(StrEnum):
    REPORT = "report"
    ERROR = "error"
    HEAT = "heat"
    ALERT = "alert"


class IncidentState(StrEnum):
    OBSERVED = "observed"
    CANDIDATE = "candidate"
    CONFIRMED = "confirmed"
    MITIGATING = "mitigating"
    FIXED = "fixed"
    CLOSED = "closed"
    REGRESSED = "regressed"
    REJECTED = "rejected"
    MERGED = "merged"
