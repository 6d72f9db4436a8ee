"""Masked fingerprints: mutants of an error join it, other errors do not."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.text.fingerprint import (
    StackFrame,
    error_fingerprint,
    mask_variable_parts,
    own_places,
    scrub_code_name,
    scrub_personal_parts,
    words_fingerprint,
)

FRAMES = (
    StackFrame("django.core.handlers", "get_response", False),
    StackFrame("upload.views", "post", True),
    StackFrame("upload.documents", "store", True),
    StackFrame("urllib3.connection", "request", False),
)
MESSAGE = "no answer from 10.1.2.3:5432 after 1500 ms for /srv/app/data/file-17.pdf, id {0}, ref 0x7f3a, mail a@b.de"


@given(st.integers(0, 10**12), st.uuids(), st.integers(0, 255))
def test_numbers_ids_and_addresses_change_nothing(number: int, uuid: object, part: int) -> None:
    """A message that differs in what is masked only is the same error."""
    one = f"user {number} not found at 10.0.0.{part}, request {uuid}"
    assert error_fingerprint("KeyError", one, ()) == error_fingerprint(
        "KeyError", "user 7 not found at 192.168.1.1, request 0b9f1f6e-6a54-4c39-9d1b-1f0c8a2a2b11", ()
    )


def test_masked_ids_do_not_tell_errors_apart() -> None:
    """Masking hits some ids and not others; what is left of them is the same error."""
    seen = {
        error_fingerprint("KeyError", f"no row {row} here", ())
        for row in ("7", "<number>", "0b9f1f6e-6a54-4c39-9d1b-1f0c8a2a2b11", "3f2a9c1d", "3f[PHONE]c1d", "[PHONE]")
    }
    assert len(seen) == 1


def test_code_names_keep_their_at() -> None:
    """Packages are named with @ and versions; identifiers in them go all the same."""
    for name in ("node_modules/@sentry/browser/index.js", "react-dom@18.2.0/index.js", "upload@1.2.3"):
        assert scrub_code_name(name) == name
    assert "erika" not in scrub_code_name("mail_erika@example.org") and "2345678" not in scrub_code_name(
        "f_0171 2345678"
    )


def test_frames_of_the_program_decide() -> None:
    """Frames of libraries and the message do not matter; another function, type or service does."""
    base = error_fingerprint("TimeoutError", "a", FRAMES)
    other_library = (StackFrame("requests", "get", False), *FRAMES)
    assert error_fingerprint("TimeoutError", "entirely different", other_library) == base
    assert error_fingerprint("OSError", "a", FRAMES) != base
    assert error_fingerprint("TimeoutError", "a", FRAMES[:2]) != base
    assert error_fingerprint("TimeoutError", "a", FRAMES, scope="payment") != base


def test_recursion_of_any_depth_is_one_error() -> None:
    """A function that calls itself fifty or sixty times before it fails is the same fault."""
    deep = [StackFrame("a.b", "walk", True)]
    assert error_fingerprint("RecursionError", "", deep * 50) == error_fingerprint("RecursionError", "", deep * 60)


def test_frames_without_information_fall_back_to_the_message() -> None:
    """Stripped native frames say nothing; the masked message does."""
    stripped = (StackFrame("", "stripped_application_code", True), StackFrame("", "<unknown>"))
    assert own_places(stripped) == []
    assert error_fingerprint("E", "disk 1 full", stripped) == error_fingerprint("E", "disk 2 full", ())
    assert error_fingerprint("E", "disk 1 full", stripped) != error_fingerprint("E", "disk 1 gone", stripped)


def test_the_senders_fingerprint_is_honoured() -> None:
    """It replaces ours, or refines it by ``{{ default }}``; alone that is no change."""
    ours = error_fingerprint("E", "m", FRAMES)
    assert error_fingerprint("E", "m", FRAMES, ["{{ default }}"]) == ours
    assert error_fingerprint("E", "m", FRAMES, ["tenant-a"]) == error_fingerprint("X", "n", (), ["tenant-a"]) != ours
    refined = error_fingerprint("E", "m", FRAMES, ["{{ default }}", "tenant-a"])
    assert refined not in (ours, error_fingerprint("X", "m", (), ["{{ default }}", "tenant-a"]))


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("write to a.b+c@example.co.uk now", "write to <email> now"),
        ("release upload@1.2.3", "release upload@<n>"),
        ("GET https://portal.example/x?y=1 failed", "GET <url> failed"),
        ("open /var/lib/app/x.db failed", "open <path> failed"),
        (r"open C:\Users\anna\x.db failed", "open <path> failed"),
        ("at 0x7ffdeadbeef and 3f2a9c1d", "at <hex> and <hex>"),
        ("decade faced", "decade faced"),
        ("took 12.5 s at 12:30", "took <n> s at <n>"),
    ],
)
def test_what_is_masked(text: str, masked: str) -> None:
    """Shapes become literals; ordinary words that happen to be hex stay."""
    assert mask_variable_parts(text) == masked


def test_words_are_compared_without_case_and_marks() -> None:
    """Case, punctuation and numbers do not matter, words and scope do; nothing is no fingerprint."""
    assert words_fingerprint("Upload geht NICHT, seit 3 Tagen!") == words_fingerprint("upload geht nicht seit 12 Tagen")
    assert words_fingerprint("geht nicht", "payment") != words_fingerprint("geht nicht", "phone")
    assert words_fingerprint("تحميل الملفات معطل") is not None
    assert words_fingerprint(" …!? ") is None and words_fingerprint("") is None


def test_personal_parts_leave_a_message() -> None:
    """E-mail, IBAN, IP, credentials, query values, account names and long numbers go; the rest stays readable."""
    scrubbed = scrub_personal_parts(
        "login of erika@example.org (DE89 3704 0044 0532 0130 00) from 198.51.100.7 at "
        "https://u:pw@host/x?token=abc&n=1 in /home/erika/app.py, call +49 170 1234567, code 42"
    )
    for private in ("erika", "3704", "198.51", "pw@", "abc", "1234567"):
        assert private not in scrubbed
    assert scrubbed.startswith("login of <email>") and scrubbed.endswith("code 42")


@pytest.mark.parametrize("hostile", ["a" * 50_000, "1." * 25_000, "/a" * 25_000, "a@" * 25_000, "0123abcd" * 6_000])
def test_hostile_texts_take_bounded_time(hostile: str) -> None:
    """No pattern runs away on long repetitions."""
    started = time.process_time()
    words_fingerprint(hostile[:8_000])
    scrub_personal_parts(hostile[:8_000])
    assert time.process_time() - started < 2
