"""Sentry envelopes: a header line, then items of a header line and a payload. Pure.

Source: develop.sentry.dev/sdk/data-model/envelopes.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MAX_ITEMS = 100
MAX_HEADER_BYTES = 16 * 1024
DROPPED_TYPES = frozenset(
    {
        "transaction", "session", "sessions", "attachment", "client_report", "user_report", "feedback", "profile",
        "profile_chunk", "replay_event", "replay_recording", "replay_video", "check_in", "log", "span", "statsd",
        "metric_buckets", "metric_meta", "trace_metric", "form_data", "nel", "raw_security", "unreal_report",
    }
)  # fmt: skip
"""Known items that nobody keeps; everything else is counted as ``other``."""


class EnvelopeRefused(ValueError):
    """The envelope can't be read. ``field`` names the place, ``allowed`` what would do."""

    def __init__(self, place: str, message: str, allowed: str, status: int = 400) -> None:
        super().__init__(message)
        self.field, self.allowed, self.status = place, allowed, status


@dataclass(frozen=True, slots=True)
class Envelope:
    """What is kept of one: its headers and the payloads of its event items, as parsed JSON objects."""

    headers: Mapping[str, Any]
    events: tuple[Mapping[str, Any], ...]
    dropped: Mapping[str, int] = field(default_factory=dict)


def parse_envelope_header(start: bytes) -> Mapping[str, Any]:
    """The headers in the first line of an envelope, of which ``start`` holds at least ``MAX_HEADER_BYTES`` + 1 bytes
    or all. Raises ``EnvelopeRefused``."""
    line, _ = _line(start, 0)
    return parse_object(line, "envelope header")


def parse_envelope(body: bytes) -> Envelope:
    """Reads one envelope. Raises ``EnvelopeRefused`` naming the place."""
    position = 0
    line, position = _line(body, position)
    headers = parse_object(line, "envelope header")
    events: list[Mapping[str, Any]] = []
    dropped: dict[str, int] = {}
    number = 0
    while position < len(body):
        line, position = _line(body, position)
        if not line.strip():
            continue
        place = f"items.{number}"
        number += 1
        if number > MAX_ITEMS:
            raise EnvelopeRefused("items", "Too many items", f"at most {MAX_ITEMS}", status=413)
        item = parse_object(line, place)
        payload, position = _payload(body, position, item, place)
        kind = item.get("type")
        if kind == "event":
            events.append(parse_object(payload, place))
        else:
            name = kind if isinstance(kind, str) and kind in DROPPED_TYPES else "other"
            dropped[name] = dropped.get(name, 0) + 1
    return Envelope(headers, tuple(events), dropped)


def parse_object(content: bytes, place: str) -> Mapping[str, Any]:
    """A JSON object; bytes that are not UTF-8 become replacement characters. Raises ``EnvelopeRefused``."""
    try:
        value = json.loads(content.decode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        raise EnvelopeRefused(place, "Not valid JSON", "one JSON object") from error
    if not isinstance(value, dict):
        raise EnvelopeRefused(place, "Not an object", "one JSON object")
    return value


def _line(body: bytes, position: int) -> tuple[bytes, int]:
    end = body.find(b"\n", position)
    end = len(body) if end < 0 else end
    if end - position > MAX_HEADER_BYTES:
        raise EnvelopeRefused("envelope header", "Header line too long", f"at most {MAX_HEADER_BYTES} bytes")
    return body[position:end], end + 1


def _payload(body: bytes, position: int, item: Mapping[str, Any], place: str) -> tuple[bytes, int]:
    length = item.get("length")
    if length is None:
        end = body.find(b"\n", position)
        end = len(body) if end < 0 else end
        return body[position:end], end + 1
    if not isinstance(length, int) or isinstance(length, bool) or length < 0 or position + length > len(body):
        raise EnvelopeRefused(f"{place}.length", "Does not fit the body", "the number of bytes of the payload")
    return body[position : position + length], position + length
