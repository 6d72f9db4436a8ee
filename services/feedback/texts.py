"""Every sentence that clients read, in German and English: one typed entry a language, so that none can be missing."""

from dataclasses import dataclass
from typing import Final

from services.feedback.domain.story import Moment, ReceiptState
from shared.events.vocabulary import Driver, Language


@dataclass(frozen=True, slots=True)
class Texts:
    """The sentences of one language. Placeholders are named in braces."""

    lang: str
    other_language: str
    other_lang: str
    product: str
    skip: str
    form_title: str
    form_lead: str
    anonymous: str
    rating: str
    rating_hint: str
    ratings: tuple[str, str, str, str, str]
    """From 1 (worst) to 5 (best)."""
    drivers: str
    drivers_hint: str
    driver_names: dict[Driver, str]
    text: str
    text_hint: str
    office: str
    office_choose: str
    service: str
    service_any: str
    send: str
    optional: str
    form_again: str
    look_again: str
    known_faults: str
    known_faults_lead: str
    since: str
    affected: str
    workaround: str
    received_title: str
    receipt_title: str
    receipt_lead: str
    receipt_keep: str
    masked_title: str
    masked_lead: str
    receipt_form_title: str
    receipt_form_lead: str
    receipt_label: str
    receipt_hint: str
    receipt_look: str
    receipt_another: str
    story_title: str
    errors_title: str
    error_empty: str
    error_office: str
    error_service: str
    error_rating: str
    error_drivers: str
    error_text: str
    error_other: str
    error_key_reused: str
    error_busy: str
    error_receipt_typo: str
    error_receipt_unknown: str
    error_receipt_busy: str
    states: dict[ReceiptState, str]
    moments: dict[Moment, str]
    """``{title}`` is the incident's."""
    instant: str
    """How an instant is written, for ``strftime``."""


GERMAN: Final = Texts(
    lang="de",
    other_language="English",
    other_lang="en",
    product="Blitzableiter",
    skip="Zum Inhalt springen",
    form_title="Wie war es bei uns?",
    form_lead="Sagen Sie uns, was gut lief und was nicht. Das dauert weniger als eine Minute.",
    anonymous="Anonym: ohne Namen, ohne Anmeldung. Wir speichern nicht, von wo Sie schreiben.",
    rating="Wie zufrieden sind Sie?",
    rating_hint="Wählen Sie eine Antwort – oder schreiben Sie unten etwas.",
    ratings=("Sehr unzufrieden", "Unzufrieden", "Mittel", "Zufrieden", "Sehr zufrieden"),
    drivers="Woran lag es?",
    drivers_hint="Sie können mehrere Gründe ankreuzen.",
    driver_names={
        Driver.IT_ONLINE: "Online-Portal oder Technik",
        Driver.PAYMENT: "Zahlung",
        Driver.DOCUMENTS_LOST: "Unterlagen verloren",
        Driver.LETTER_DECISION: "Brief oder Bescheid",
        Driver.WAITING_REACHABILITY: "Wartezeit oder Erreichbarkeit",
        Driver.APPOINTMENT: "Termin",
        Driver.EMPLOYEE: "Umgang mit mir",
        Driver.OTHER: "Etwas anderes",
    },
    text="Was ist passiert?",
    text_hint="Ein Stichwort genügt. Bitte keine Namen und Nummern – was wir davon erkennen, machen wir unkenntlich.",
    office="Welches Jobcenter?",
    office_choose="Bitte wählen",
    service="Worum ging es?",
    service_any="Weiß ich nicht / etwas anderes",
    send="Absenden",
    optional="freiwillig",
    form_again="Noch etwas melden",
    look_again="Schon etwas gemeldet? Hier nachsehen",
    known_faults="Diese Störung kennen wir schon",
    known_faults_lead="Daran arbeiten wir bereits. Ihre Meldung hilft trotzdem.",
    since="Seit {at}",
    affected="{count} Meldungen zu dieser Störung",
    workaround="Bis dahin hilft:",
    received_title="Danke. Ihre Meldung ist angekommen.",
    receipt_title="Ihr Beleg-Code",
    receipt_lead="Mit diesem Code sehen Sie später, was aus Ihrer Meldung geworden ist.",
    receipt_keep="Bitte aufschreiben oder abfotografieren. Wir kennen Sie nicht und können den Code nicht noch einmal "
    "zeigen.",
    masked_title="Das haben wir gespeichert",
    masked_lead="Persönliche Angaben, die wir erkannt haben, stehen nur noch als Platzhalter da.",
    receipt_form_title="Was ist aus meiner Meldung geworden?",
    receipt_form_lead="Geben Sie den Beleg-Code ein, den Sie nach dem Absenden bekommen haben.",
    receipt_label="Beleg-Code",
    receipt_hint="17 Zeichen, zum Beispiel 7Q4M-0ZKT-9R2C-XW8H-5. Groß- und Kleinschreibung sind egal.",
    receipt_look="Nachsehen",
    receipt_another="Anderen Code eingeben",
    story_title="Was bisher geschah",
    errors_title="Da fehlt noch etwas",
    error_empty="Bitte wählen Sie eine Bewertung oder schreiben Sie ein paar Worte.",
    error_office="Bitte wählen Sie Ihr Jobcenter aus der Liste.",
    error_service="Bitte wählen Sie das Thema aus der Liste.",
    error_rating="Bitte wählen Sie eine der fünf Antworten.",
    error_drivers="Bitte wählen Sie die Gründe aus der Liste.",
    error_text="Der Text ist zu lang: höchstens 10.000 Zeichen.",
    error_other="Bitte prüfen Sie Ihre Angaben und senden Sie noch einmal.",
    error_key_reused="Dieses Formular hatten Sie schon abgeschickt; diese Meldung ist angekommen. Ihr geänderter Text "
    "steht noch da: Wenn Sie noch einmal senden, wird daraus eine zweite Meldung.",
    error_busy="Das hat gerade nicht geklappt, es liegt an uns. Ihr Text steht noch da – bitte senden Sie in ein paar "
    "Sekunden noch einmal.",
    error_receipt_typo="Da ist wohl ein Tippfehler. Ein Beleg-Code hat 17 Zeichen; bitte vergleichen Sie ihn.",
    error_receipt_unknown="Zu diesem Code gibt es keine Meldung, oder sie ist abgelaufen.",
    error_receipt_busy="Das hat gerade nicht geklappt, es liegt an uns. Bitte sehen Sie in ein paar Sekunden "
    "noch einmal nach.",
    states={
        ReceiptState.RECEIVED: "Angekommen",
        ReceiptState.IN_PROGRESS: "In Arbeit",
        ReceiptState.FIXED: "Behoben",
        ReceiptState.ANSWERED: "Beantwortet",
        ReceiptState.CLOSED: "Abgeschlossen",
    },
    moments={
        Moment.RECEIVED: "Ihre Meldung ist angekommen.",
        Moment.LINKED: "Ihre Meldung gehört zu einer Störung, die auch andere betrifft: {title}.",
        Moment.CONFIRMED: "Die Störung ist bestätigt. Es liegt nicht an Ihnen.",
        Moment.MITIGATING: "An der Störung wird gearbeitet.",
        Moment.FIXED: "Die Störung ist behoben.",
        Moment.REGRESSED: "Die Störung ist wieder aufgetreten. Wir arbeiten daran.",
        Moment.CLOSED: "Die Störung ist abgeschlossen.",
    },
    instant="%d.%m.%Y, %H:%M Uhr",
)

ENGLISH: Final = Texts(
    lang="en",
    other_language="Deutsch",
    other_lang="de",
    product="Blitzableiter",
    skip="Skip to content",
    form_title="How was it with us?",
    form_lead="Tell us what went well and what did not. It takes less than a minute.",
    anonymous="Anonymous: no name, no sign-in. We do not store where you write from.",
    rating="How satisfied are you?",
    rating_hint="Choose one answer – or write something below.",
    ratings=("Very dissatisfied", "Dissatisfied", "Neutral", "Satisfied", "Very satisfied"),
    drivers="What was the reason?",
    drivers_hint="You can tick more than one.",
    driver_names={
        Driver.IT_ONLINE: "Online portal or technology",
        Driver.PAYMENT: "Payment",
        Driver.DOCUMENTS_LOST: "Documents lost",
        Driver.LETTER_DECISION: "Letter or decision",
        Driver.WAITING_REACHABILITY: "Waiting or reaching someone",
        Driver.APPOINTMENT: "Appointment",
        Driver.EMPLOYEE: "How I was treated",
        Driver.OTHER: "Something else",
    },
    text="What happened?",
    text_hint="One word is enough. Please no names or numbers – those we recognise, we make unreadable.",
    office="Which Jobcenter?",
    office_choose="Please choose",
    service="What was it about?",
    service_any="I don't know / something else",
    send="Send",
    optional="optional",
    form_again="Report something else",
    look_again="Reported something before? Look here",
    known_faults="We already know this fault",
    known_faults_lead="We are working on it. Your report still helps.",
    since="Since {at}",
    affected="{count} reports of this fault",
    workaround="Until then:",
    received_title="Thank you. Your report has arrived.",
    receipt_title="Your receipt code",
    receipt_lead="With this code you can see later what became of your report.",
    receipt_keep="Please write it down or take a photo. We do not know who you are and cannot show the code again.",
    masked_title="This is what we stored",
    masked_lead="Personal details that we recognised are only there as placeholders.",
    receipt_form_title="What became of my report?",
    receipt_form_lead="Enter the receipt code that you got after sending.",
    receipt_label="Receipt code",
    receipt_hint="17 characters, for example 7Q4M-0ZKT-9R2C-XW8H-5. Capital and small letters are the same.",
    receipt_look="Look up",
    receipt_another="Enter another code",
    story_title="What has happened so far",
    errors_title="Something is still missing",
    error_empty="Please choose a rating or write a few words.",
    error_office="Please choose your Jobcenter from the list.",
    error_service="Please choose the subject from the list.",
    error_rating="Please choose one of the five answers.",
    error_drivers="Please choose the reasons from the list.",
    error_text="The text is too long: at most 10,000 characters.",
    error_other="Please check what you entered and send again.",
    error_key_reused="You had sent this form already; that report has arrived. Your changed text is still here: if you "
    "send again, it becomes a second report.",
    error_busy="That did not work just now, and it is our fault. Your text is still here – please send again in a few "
    "seconds.",
    error_receipt_typo="There seems to be a typing error. A receipt code has 17 characters; please compare it.",
    error_receipt_unknown="There is no report for this code, or it has expired.",
    error_receipt_busy="That did not work just now, and it is our fault. Please look again in a few seconds.",
    states={
        ReceiptState.RECEIVED: "Received",
        ReceiptState.IN_PROGRESS: "In progress",
        ReceiptState.FIXED: "Fixed",
        ReceiptState.ANSWERED: "Answered",
        ReceiptState.CLOSED: "Closed",
    },
    moments={
        Moment.RECEIVED: "Your report has arrived.",
        Moment.LINKED: "Your report belongs to a fault that affects others too: {title}.",
        Moment.CONFIRMED: "The fault is confirmed. It is not your mistake.",
        Moment.MITIGATING: "The fault is being worked on.",
        Moment.FIXED: "The fault is fixed.",
        Moment.REGRESSED: "The fault has come back. We are working on it.",
        Moment.CLOSED: "The fault is closed.",
    },
    instant="%d %B %Y, %H:%M",
)

_GERMAN_READERS: Final = frozenset({Language.DE, Language.DE_EASY})
TEXTS: Final = {GERMAN.lang: GERMAN, ENGLISH.lang: ENGLISH}


def texts_for(lang: Language) -> Texts:
    """The sentences for a reader of ``lang``: German for German, English for everyone else who named a language."""
    return GERMAN if lang in _GERMAN_READERS else ENGLISH


def texts_accepted(accept_language: str | None, fallback: Texts = GERMAN) -> Texts:
    """The sentences by ``Accept-Language`` (RFC 9110 section 12.5.4), the highest weight that we have."""
    best, texts = 0.0, fallback
    for choice in (accept_language or "").split(",")[:20]:
        tag, _, parameters = choice.strip().partition(";")
        found = TEXTS.get(tag.strip().lower().split("-", 1)[0])
        weight = _weight(parameters)
        if found and weight > best:
            best, texts = weight, found
    return texts


def _weight(parameters: str) -> float:
    name, _, value = parameters.strip().partition("=")
    try:
        return float(value) if name.strip() == "q" else 1.0
    except ValueError:
        return 0.0
