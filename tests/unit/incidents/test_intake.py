"""What comes in from outside: compressed bodies, envelopes, events. Anything may come; nothing may break."""

import contextlib
import gzip
import json
import re
import tracemalloc
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import brotli  # type: ignore[import-untyped]
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from services.incidents.desk import Desk, Offer, Receipt
from services.incidents.domain.titles import error_title
from services.incidents.intake.api import MAX_EVENTS_IN_COMPANY, submit_errors
from services.incidents.intake.decompression import BodyRefused, decompress, decompress_start
from services.incidents.intake.envelope import EnvelopeRefused, parse_envelope
from services.incidents.intake.errors import ErrorBody, error_from_body, sentry_event_id
from services.incidents.intake.sentry_event import MAX_FRAMES, MAX_MESSAGE, believable, read_instant, read_sentry_event
from services.incidents.metrics import IntakeMetrics
from services.incidents.wire import error_label
from shared.text.fingerprint import StackFrame

NOW = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)
COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstandard.compress,
}
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
event_fields = (
    *("exception", "threads", "message", "logentry", "timestamp", "fingerprint", "contexts", "stacktrace"),
    *("level", "release", "transaction", "environment", "platform"),
)


@pytest.mark.parametrize("encoding", COMPRESSORS)
def test_every_encoding_is_read(encoding: str) -> None:
    """What an SDK compressed comes out as it was, empty bodies too."""
    for body in (b"", b"x", json.dumps(list(range(9000))).encode()):
        assert decompress(COMPRESSORS[encoding](body), encoding) == body


@pytest.mark.parametrize("encoding", COMPRESSORS)
def test_bombs_are_refused_before_they_exist(encoding: str) -> None:
    """A body of 60 MB of zeros: 413, while less than 8 MB were ever held."""
    bomb = COMPRESSORS[encoding](b"\0" * 60_000_000)
    tracemalloc.start()
    with pytest.raises(BodyRefused) as refusal:
        decompress(bomb, encoding)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert refusal.value.status == 413 and peak < 8_000_000


@pytest.mark.parametrize("encoding", COMPRESSORS)
def test_torn_bodies_are_refused(encoding: str) -> None:
    """A stream that ends too early is damaged, never a shorter one."""
    whole = COMPRESSORS[encoding](json.dumps(list(range(500))).encode())
    for torn in (b"", whole[:1], whole[: len(whole) // 2], whole[:-1], b"no such stream"):
        with pytest.raises(BodyRefused) as refusal:
            decompress(torn, encoding)
        assert refusal.value.status == 400


@given(st.sampled_from([*COMPRESSORS, "identity", "x"]), st.binary(max_size=200))
def test_any_bytes_are_decompressed_or_refused(encoding: str, body: bytes) -> None:
    """No other exception, whatever comes."""
    with contextlib.suppress(BodyRefused):
        decompress(body, encoding)


@given(
    st.binary(max_size=300)
    | st.lists(st.dictionaries(st.text(max_size=6), json_values, max_size=3)).map(
        lambda lines: b"\n".join(json.dumps(line).encode() for line in lines)
    )
)
def test_any_bytes_are_an_envelope_or_refused(body: bytes) -> None:
    """No other exception, whatever comes."""
    with contextlib.suppress(EnvelopeRefused):
        parse_envelope(body)


@given(st.dictionaries(st.sampled_from(event_fields), json_values, max_size=8))
def test_any_object_is_an_event(event: dict[str, Any]) -> None:
    """Fields of wrong types are left out; what is kept is bounded and can be encoded."""
    facts = read_sentry_event(event)
    assert len(facts.message) <= MAX_MESSAGE and len(facts.frames) <= MAX_FRAMES
    facts.message.encode()


def test_only_what_is_named_is_kept() -> None:
    """User, request, breadcrumbs, variables and source lines leave no trace; paths are shortened."""
    event = {
        "exception": {
            "values": [
                {"type": "Cause", "value": "first", "stacktrace": {"frames": [{"function": "a"}]}},
                {
                    "type": "IOError",
                    "value": "disk of erika@example.org full",
                    "stacktrace": {
                        "frames": [
                            {
                                "function": "save",
                                "module": "app.files",
                                "filename": "/home/erika/app/files.py",
                                "abs_path": "/home/erika/app/files.py",
                                "vars": {"token": "geheim"},
                                "context_line": "geheim = 1",
                                "lineno": 12,
                                "in_app": True,
                            }
                        ]
                    },
                },
            ]
        },
        "user": {"email": "geheim@example.org"},
        "request": {"url": "https://geheim", "cookies": "geheim"},
        "breadcrumbs": {"values": [{"message": "geheim"}]},
        "extra": {"x": "geheim"},
        "tags": {"y": "geheim"},
        "server_name": "geheim",
        "transaction": "/reports/4711?token=geheim",
    }
    facts = read_sentry_event(event)
    assert "geheim" not in repr(facts) and "erika" not in repr(facts)
    assert (facts.type, facts.frames[0].function, facts.frames[0].lineno) == ("IOError", "save", 12)
    assert facts.transaction == "/reports/<n>"


PRIVATE = (
    *("65 170839 J 003", "65170839J003", "de89370400440532013000", "DE89-3704-0044-0532-0130-00", "(0171) 2345678"),
    *("lena punkt hoffmann at gmx punkt de", "lena.hoffmann@gmx.de", "49729806357", "0171_2345678"),
)


@pytest.mark.parametrize("private", PRIVATE)
def test_identifiers_leave_every_part_of_an_error(private: str) -> None:
    """What the masking of reports finds stays in no message, type, transaction, part of a fingerprint or frame."""
    frame = {"module": f"m {private}", "function": f"f {private}", "filename": f"app/{private}.py"}
    event = {
        "exception": {
            "values": [{"type": private, "value": f"no row for {private} today", "stacktrace": {"frames": [frame]}}]
        },
        "transaction": f"/rows/{private}/x",
        "fingerprint": ["rows", private],
        "environment": private,
    }
    facts = read_sentry_event(event)
    body = ErrorBody(
        service="payment", message=private, type=private, transaction=private, fingerprint=[private], trace_id=private
    )
    kept = repr(facts) + repr(error_from_body(body, NOW).event)
    parts = [private] if "punkt" not in private else ["punkt hoffmann at"]
    if "punkt" in private:  # in names of a program words are no address
        kept = repr([facts.message, facts.type, facts.transaction, facts.fingerprint, facts.environment])
    parts += re.findall(r"\d{5,}", private)
    assert not [part for part in parts if part in kept]


def test_titles_of_errors_hold_no_message() -> None:
    """Type and code place, else a neutral label; a sentence in the place of a type is none."""
    frames = [StackFrame("upload.documents", "store", True)]
    assert error_label("TimeoutError", frames) == "TimeoutError in upload.documents.store"
    assert error_label("TimeoutError", []) == "TimeoutError"
    assert error_label("Frau Huber hat angerufen", []) == ""
    assert error_label("Frau Huber hat angerufen", frames) == "Fehler in upload.documents.store"
    assert error_label("", [StackFrame("", "no such row for Erika", True)]) == ""
    assert error_title("Auszahlung", error_label("", [])) == "Auszahlung: technischer Fehler"


def test_the_first_line_of_a_packed_envelope_is_read_alone() -> None:
    """The start comes out of every encoding without the rest, and of a torn stream too."""
    whole = json.dumps({"dsn": "x"}).encode() + b"\n" + bytes(range(256)) * 4000
    for encoding, pack in COMPRESSORS.items():
        packed = pack(whole)
        assert decompress_start(packed, encoding, 100) == whole[:100]
        assert decompress_start(pack(b"x"), encoding, 100) == b"x"
    assert decompress_start(whole, "", 100) == whole[:100]
    with pytest.raises(BodyRefused):
        decompress_start(b"no such stream", "gzip", 100)


async def test_many_events_wait_in_a_queue_of_their_own() -> None:
    """The group commit counts requests: those of many events must not share a statement with hundreds of their kind."""

    class Queue:
        def __init__(self) -> None:
            self.offers: list[Offer] = []

        async def submit(self, offer: Offer) -> Receipt:
            self.offers.append(offer)
            return Receipt(len(offer.events), 0)

    few, many = Queue(), Queue()
    metrics = IntakeMetrics(CollectorRegistry())
    desk = Desk(cast(Any, None), cast(Any, None), cast(Any, few), cast(Any, many), metrics, lambda: NOW)
    error = error_from_body(ErrorBody(service="payment", message="m"), NOW)
    await submit_errors(desk, "http", [error] * MAX_EVENTS_IN_COMPANY)
    await submit_errors(desk, "http", [error] * (MAX_EVENTS_IN_COMPANY + 1))
    assert [len(queue.offers) for queue in (few, many)] == [1, 1]


def test_clocks_that_cannot_be_true_are_not_believed() -> None:
    """More than five minutes ahead or thirty days behind counts as the arrival."""
    assert believable(NOW + timedelta(minutes=4), NOW) and believable(NOW - timedelta(days=29), NOW)
    for at in (None, NOW + timedelta(days=365), NOW - timedelta(days=365)):
        assert believable(at, NOW) is None
    late = error_from_body(ErrorBody(service="payment", message="m", at=NOW + timedelta(days=365)), NOW)
    assert (late.event.at, late.clock_corrected) == (NOW, True)
    for instant in ("2026-11-02T08:00:00Z", "2026-11-02T08:00:00", NOW.timestamp()):
        assert read_instant(instant) == NOW
    untrue: tuple[object, ...] = (True, "now", float("nan"), 1e300, None, [])
    assert [read_instant(value) for value in untrue] == [None] * len(untrue)


def test_ids_are_kept_or_made() -> None:
    """With or without dashes it is the same id; what is none is replaced."""
    plain = "0b9f1f6e6a544c399d1b1f0c8a2a2b11"
    assert sentry_event_id("0B9F1F6E-6A54-4C39-9D1B-1F0C8A2A2B11") == sentry_event_id(None, plain) == plain
    assert sentry_event_id("x", 7) not in (plain, sentry_event_id("x"))
    one = ErrorBody(service="payment", message="m", event_id="e")
    assert error_from_body(one, NOW).event.error_id == error_from_body(one, NOW).event.error_id
    other = ErrorBody(service="phone", message="m", event_id="e")
    assert error_from_body(one, NOW).event.error_id != error_from_body(other, NOW).event.error_id
