"""Masked fingerprints: what stays of a text or a stack trace without everything that differs from case to case.

Pure and deterministic. The version of the rules is part of every fingerprint: changed rules never join old groups.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from shared.text.cleaning import clean
from shared.text.masking import mask, mask_numbers

FINGERPRINT_VERSION = "1"

_WORD = re.compile(r"[^\W_]+")
# Masked to literals, never to a wildcard: a literal counts as an ordinary word wherever texts are compared.
# The order matters: the more specific shape first.
_VARIABLE_PARTS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\b[a-z][a-z0-9+.-]{1,15}://[^\s\"'<>]{1,2000}", re.I), "<url>"),
    (re.compile(r"[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}\b"), "<email>"),
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", re.I), "<uuid>"),
    (re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b"), "<iban>"),
    (re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5})?\b"), "<ip>"),
    (re.compile(r"\b(?:[0-9a-f]{1,4}:){3,7}[0-9a-f]{1,4}\b", re.I), "<ip>"),
    (re.compile(r"(?:\b[A-Za-z]:)?(?:[\\/][\w.@+-]{1,255}){2,40}[\\/]?"), "<path>"),
    (re.compile(r"\b0x[0-9a-f]+\b", re.I), "<hex>"),
    (re.compile(r"\b(?=[0-9a-f]{0,63}\d)(?=[0-9a-f]{0,63}[a-f])[0-9a-f]{6,64}\b", re.I), "<hex>"),
    (re.compile(r"\d+(?:[.,:]\d+)*"), "<n>"),
)
_PERSONAL_PARTS: tuple[tuple[re.Pattern[str], str], ...] = (
    (_VARIABLE_PARTS[1][0], "<email>"),
    (_VARIABLE_PARTS[3][0], "<iban>"),
    (_VARIABLE_PARTS[4][0], "<ip>"),
    (_VARIABLE_PARTS[5][0], "<ip>"),
    (re.compile(r"(?<=://)[^\s/@]{1,200}@"), "<credentials>@"),
    (re.compile(r"(?<=[?&;])([\w.-]{1,64})=[^\s&;\"']{1,2000}"), r"\1=<value>"),
    (re.compile(r"(?i)([\\/](?:home|users)[\\/])[^\\/\s]{1,64}"), r"\1<user>"),
)
_LONG_NUMBER = re.compile(r"(?<![\w-])\+?\d(?:[ /.-]?\d){6,}(?![\w-])")
# Masking takes some ids, or parts of them, for phone numbers; whether it did must not tell one error from another.
_MASKED_ID = re.compile(r"(?:0x)?[0-9A-Fa-f-]{0,64}\[(?:PHONE|IBAN|TAX_ID|PENSION_NUMBER)\][0-9A-Fa-f-]{0,64}")
_ANY_ID = re.compile(r"<(?:number|hex|uuid|iban|ip)>")
_MAYBE_VARIABLE = re.compile(r"[0-9@/\\]")
_MAYBE_PERSONAL = re.compile(r"[0-9@=/\\]")
"""Without one of these no pattern can match; most names of functions and modules are passed on at once."""
_UNINFORMATIVE = frozenset(
    {"", "?", "<unknown>", "<anonymous>", "anonymous", "stripped_application_code", "<redacted>"}
)


@dataclass(frozen=True, slots=True)
class StackFrame:
    """What a fingerprint reads of one frame. ``own``: the program's own code (None when the sender did not say)."""

    module: str
    function: str
    own: bool | None = None


def mask_variable_parts(text: str) -> str:
    """``text`` with addresses, ids, paths, hex and numbers replaced by literals such as ``<uuid>``."""
    if _MAYBE_VARIABLE.search(text) is None:
        return text
    for pattern, literal in _VARIABLE_PARTS:
        text = pattern.sub(literal, text)
    return text


def scrub_personal_parts(text: str) -> str:
    """A technical message without e-mail, IBAN, IP, URL secrets, account names in paths and long numbers.

    What has the form of a person's identifier is masked in between (``shared.text.masking``): afterwards a pension
    number would have lost the digits by which it is known, and before, an IP would pass for a phone number.
    """
    return _scrub(text, mask)


def scrub_code_name(text: str) -> str:
    """As ``scrub_personal_parts``, for modules, functions and files, where an ``@`` is no sign of an address."""
    return _scrub(text, mask_numbers)


def _scrub(text: str, mask_identifiers: Callable[[str], str]) -> str:
    if _MAYBE_PERSONAL.search(text) is not None:
        for pattern, literal in _PERSONAL_PARTS:
            text = pattern.sub(literal, text)
    return _LONG_NUMBER.sub("<number>", mask_identifiers(clean(text)))


def words_fingerprint(text: str, scope: str = "") -> str | None:
    """32 hex digits for the words of ``text``, blind to case, punctuation and variable parts; None when it has no word.

    ``scope`` separates equal words that mean different things, such as "geht nicht" in two services.
    """
    words = _WORD.findall(mask_variable_parts(text).casefold())
    return _digest("words", scope, *words) if words else None


def error_fingerprint(
    type_name: str, message: str, frames: Sequence[StackFrame], custom: Sequence[str] = (), scope: str = ""
) -> str:
    """32 hex digits for one kind of error.

    The sender's own ``custom`` fingerprint wins (``{{ default }}`` stands for ours, as in Sentry's protocol); else the
    type with the modules and functions of the program's own frames; else the type with the masked message.
    """
    default = _default_error_parts(type_name, message, frames)
    named = [part.strip() for part in custom if part.strip()]
    if not named or named in (["{{ default }}"], ["{{default}}"]):
        return _digest("error", scope, *default)
    expanded: list[str] = []
    for part in named:
        expanded.extend(default if part in ("{{ default }}", "{{default}}") else (part,))
    return _digest("custom", scope, *expanded)


def own_places(frames: Iterable[StackFrame]) -> list[str]:
    """``module:function`` of the program's own informative frames, masked, outermost first, direct recursion once."""
    informative = [frame for frame in frames if frame.function.strip().casefold() not in _UNINFORMATIVE]
    own = [frame for frame in informative if frame.own] or [frame for frame in informative if frame.own is not False]
    places: list[str] = []
    for frame in own or informative:
        place = mask_variable_parts(f"{frame.module.strip()}:{frame.function.strip()}")
        if not places or places[-1] != place:
            places.append(place)
    return places


def _default_error_parts(type_name: str, message: str, frames: Sequence[StackFrame]) -> tuple[str, ...]:
    kind = mask_variable_parts(type_name.strip())
    places = own_places(frames)
    if places:
        return ("frames", kind, *places)
    masked = mask_variable_parts(_MASKED_ID.sub("<n>", message))
    return ("message", kind, " ".join(_ANY_ID.sub("<n>", masked).split()))


def _digest(*parts: str) -> str:
    content = "\x1f".join((FINGERPRINT_VERSION, *parts))
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:32]
