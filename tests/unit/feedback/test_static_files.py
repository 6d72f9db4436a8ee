"""Style sheets and pictures: packed small for phones, kept for good under their version, asked for else."""

import gzip

import brotli  # type: ignore[import-untyped]
import pytest
from starlette.requests import Request

from services.feedback.pages.static_files import StaticFiles

KERN = "kern-2.7.2.min.css"


@pytest.fixture(scope="module")
def static() -> StaticFiles:
    return StaticFiles()


def asking(**headers: str) -> Request:
    """A request with these headers."""
    sent = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "GET", "path": "/", "headers": sent})


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("gzip, deflate, br, zstd", "br"),
        ("gzip", "gzip"),
        ("br;q=0, gzip;q=0.5", "gzip"),
        ("gzip;q=0", None),
        ("", None),
    ],
)
def test_a_phone_gets_it_packed(static: StaticFiles, accepted: str, encoding: str | None) -> None:
    """340 kB travel as less than 40, in an encoding that the browser takes, and caches keep them apart."""
    version = static.address(KERN).split("/")[2]
    answer = static.answer(asking(accept_encoding=accepted), version, KERN)
    assert answer.headers.get("content-encoding") == encoding
    unpack = {"br": brotli.decompress, "gzip": gzip.decompress, None: bytes}[encoding]
    body = bytes(answer.body)
    assert len(unpack(body)) == 340_042
    assert encoding is None or len(body) < 40_000
    assert answer.headers["vary"] == "Accept-Encoding"
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"


def test_another_version_is_asked_for_each_time(static: StaticFiles) -> None:
    """An old page during a rollout gets what is there, and caches never take it for its version."""
    first = static.answer(asking(accept_encoding="gzip"), "000000000000", KERN)
    assert (first.status_code, first.headers["cache-control"]) == (200, "no-cache")
    again = static.answer(asking(accept_encoding="gzip", if_none_match=f'"x", W/{first.headers["etag"]}'), "0", KERN)
    assert (again.status_code, again.body) == (304, b"")
    assert (
        static.answer(asking(accept_encoding="br", if_none_match=first.headers["etag"]), "0", KERN).status_code == 200
    )
    assert static.answer(asking(), "0", "../routes.py").status_code == 404
