"""A Sentry event becomes ours: type, message, frames and release; everything about people stays behind.

Only the fields named here are read, so that user, request, breadcrumbs, local variables, environment and whatever an
SDK adds tomorrow cannot pass. Anything may be missing or of a wrong type: what is usable is used. Pure.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.events import Frame
from shared.text.fingerprint import mask_variable_parts, scrub_code_name, scrub_personal_parts

MAX_FRAMES = 100
MAX_MESSAGE = 2000
MAX_NAME = 200
MAX_FINGERPRINT_PARTS = 16
MAX_AHEAD = timedelta(minutes=5)
MAX_BEHIND = timedelta(days=30)
LEVELS = frozenset({"fatal", "error", "warning", "info", "debug"})


@dataclass(frozen=True, slots=True)
class SentryFacts:
    """What is kept of one event."""

    type: str
    message: str
    frames: tuple[Frame, ...]
    fingerprint: tuple[str, ...]
    level: str
    platform: str | None
    release: str | None
    environment: str | None
    transaction: str | None
    trace_id: str | None
    at: datetime | None


def read_sentry_event(event: Mapping[str, Any]) -> SentryFacts:
    """The facts of one event payload. Never raises: what can't be read is left out."""
    exception = _main_exception(event)
    frames = read_frames(_frames_of(exception) or _frames_of(_thread(event)) or _frames_of(event))
    message = _text(exception.get("value")) or _message(event)
    trace = _mapping(_mapping(event.get("contexts")).get("trace"))
    return SentryFacts(
        type=clean_name(exception.get("type")) or "",
        message=clean_message(message),
        frames=frames,
        fingerprint=read_fingerprint(event.get("fingerprint")),
        level=level if (level := _text(event.get("level"))) in LEVELS else "error",
        platform=clean_name(event.get("platform")),
        release=clean_code_name(event.get("release")),
        environment=clean_name(event.get("environment")),
        transaction=clean_transaction(event.get("transaction")),
        trace_id=read_trace_id(trace.get("trace_id")),
        at=read_instant(event.get("timestamp")),
    )


def read_frames(frames: Iterable[object]) -> tuple[Frame, ...]:
    """Frames without source, variables and absolute paths; of a deep stack the innermost, where the error is."""
    kept = []
    for frame in list(frames)[-MAX_FRAMES:]:
        entry = _mapping(frame)
        line = entry.get("lineno")
        own = entry.get("in_app")
        kept.append(
            Frame(
                module=clean_code_name(entry.get("module")),
                function=clean_code_name(entry.get("function")),
                filename=_short_path(clean_code_name(entry.get("filename")) or clean_code_name(entry.get("package"))),
                lineno=line if isinstance(line, int) and not isinstance(line, bool) and 0 <= line < 2**31 else None,
                in_app=own if isinstance(own, bool) else None,
            )
        )
    return tuple(kept)


def read_fingerprint(value: object) -> tuple[str, ...]:
    """The sender's own fingerprint; empty when there is none."""
    parts = value if isinstance(value, list) else []
    return tuple(text for part in parts[:MAX_FINGERPRINT_PARTS] if (text := clean_name(part)))


def read_instant(value: object) -> datetime | None:
    """Seconds since 1970 or an RFC 3339 text (UTC when it names no zone); None for anything else."""
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
        if isinstance(value, str):
            parsed = datetime.fromisoformat(value.strip()[:40])
            return (parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return None


def believable(at: datetime | None, received_at: datetime) -> datetime | None:
    """``at`` unless the sender's clock is more than 5 minutes ahead or 30 days behind; then None."""
    if at is None or at > received_at + MAX_AHEAD or at < received_at - MAX_BEHIND:
        return None
    return at


def clean_message(text: str) -> str:
    """A message as it may be kept: valid Unicode, without personal parts, bounded."""
    return scrub_personal_parts(_valid(text[: 2 * MAX_MESSAGE]))[:MAX_MESSAGE]


def clean_name(value: object) -> str | None:
    """A type, transaction, environment or part of a fingerprint: one line, bounded; None when there is none."""
    return _one_line(scrub_personal_parts(_valid(_text(value)[: 2 * MAX_NAME])))


def clean_code_name(value: object) -> str | None:
    """As ``clean_name``, for a module, function, file or release."""
    return _one_line(scrub_code_name(_valid(_text(value)[: 2 * MAX_NAME])))


def clean_transaction(value: object) -> str | None:
    """A route or task without its query and with its ids masked."""
    text = clean_name(_text(value).partition("?")[0])
    return None if text is None else "/".join(mask_variable_parts(part) for part in text.split("/"))


def _main_exception(event: Mapping[str, Any]) -> Mapping[str, Any]:
    """The exception that was seen (the last of a chain); an earlier one with frames when that one has none."""
    exception = event.get("exception")
    values = _mapping(exception).get("values") if isinstance(exception, dict) else exception
    chain = [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []
    if not chain:
        return {}
    return next((value for value in reversed(chain) if _frames_of(value)), chain[-1])


def _thread(event: Mapping[str, Any]) -> Mapping[str, Any]:
    threads = event.get("threads")
    values = _mapping(threads).get("values") if isinstance(threads, dict) else threads
    known = [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []
    return next((value for value in known if value.get("crashed")), known[0] if known else {})


def _frames_of(holder: Mapping[str, Any]) -> list[object]:
    frames = _mapping(holder.get("stacktrace")).get("frames")
    return frames if isinstance(frames, list) else []


def _message(event: Mapping[str, Any]) -> str:
    entry = event.get("logentry") or event.get("message")
    if isinstance(entry, dict):
        return _text(entry.get("formatted")) or _text(entry.get("message"))
    return _text(entry)


def _short_path(path: str | None) -> str | None:
    """The last three parts of a path: enough to recognise a file, too little to name whose home it lies in."""
    if path is None:
        return None
    parts = [part for part in path.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    return "/".join(parts[-3:]) or None


def _one_line(text: str) -> str | None:
    return " ".join(text.split())[:MAX_NAME] or None


def read_trace_id(value: object) -> str | None:
    """32 hex digits; None for anything else."""
    text = _text(value).lower()
    return text if len(text) == 32 and all(char in "0123456789abcdef" for char in text) else None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _valid(text: str) -> str:
    """Without NUL and with lone surrogates replaced, as PostgreSQL and UTF-8 need it."""
    return text.encode("utf-8", "replace").decode().replace("\x00", "")
