"""A small upload program with real bugs. It reports them with an unchanged ``sentry-sdk``, as the office's IT would."""

from dataclasses import dataclass

import sentry_sdk

MAX_PAGES = 20


@dataclass(frozen=True)
class Document:
    """One file that somebody tries to hand in."""

    name: str
    pages: int
    content_type: str | None


def count_pages(document: Document) -> int:
    """Fails on an empty scan, as the faulty release does."""
    return MAX_PAGES // document.pages


def store(document: Document) -> str:
    """Fails on a photo of a phone, which names no content type."""
    kind = document.content_type.split("/")[1]  # type: ignore[union-attr]
    return f"{document.name}.{kind}"


def upload(document: Document) -> None:
    """Takes one document: counts its pages, then stores it."""
    count_pages(document)
    store(document)


def run(dsn: str, uploads: int) -> int:
    """Tries ``uploads`` documents, reports each failure; returns the number of failures."""
    sentry_sdk.init(dsn=dsn, release="upload@4.7.0", environment="demo", default_integrations=False)
    failures = 0
    for number in range(uploads):
        broken_scan = number % 4 != 0
        document = Document(
            f"anlage-{number}", pages=0 if broken_scan else 3, content_type="image/jpeg" if broken_scan else None
        )
        try:
            upload(document)
        except (ZeroDivisionError, AttributeError) as error:
            sentry_sdk.capture_exception(error)
            failures += 1
    sentry_sdk.flush(timeout=10)
    return failures
