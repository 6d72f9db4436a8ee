"""A Kafka record's headers as stored in the outbox: JSON with latin-1 text, so that any bytes survive."""

import json
from collections.abc import Sequence

Headers = Sequence[tuple[str, bytes | None]]


def encode_headers(headers: Headers) -> bytes:
    """Headers as stored; their order and any byte survive."""
    pairs = [(name, None if value is None else value.decode("latin-1")) for name, value in headers]
    return json.dumps(pairs, separators=(",", ":")).encode()


def decode_headers(stored: bytes) -> list[tuple[str, bytes | None]]:
    """The inverse of ``encode_headers``."""
    return [(name, None if value is None else value.encode("latin-1")) for name, value in json.loads(stored)]
