"""Bodies are decompressed piece by piece and never beyond a limit: what would be larger is refused before it exists."""

import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import brotli  # type: ignore[import-untyped]
import zstandard

MAX_OUTPUT_BYTES = 5 * 1024 * 1024
MAX_RATIO = 100
FREE_OUTPUT_BYTES = 256 * 1024
"""Up to here the ratio does not matter: small bodies of repeated frames compress very well."""
_PIECE_BYTES = 64 * 1024
_MAX_WINDOW_BYTES = 8 * 1024 * 1024


class BodyRefused(ValueError):
    """The body is damaged, too large when decompressed, or of an unknown encoding. ``status`` is the HTTP answer."""

    def __init__(self, status: int, message: str, allowed: str) -> None:
        super().__init__(message)
        self.status = status
        self.allowed = allowed


def decompress(body: bytes, encoding: str, *, max_output: int = MAX_OUTPUT_BYTES) -> bytes:
    """``body`` in the encoding that its header names (``identity gzip deflate br zstd``). Raises ``BodyRefused``.

    Never holds more than ``max_output`` or 100 times the body, whichever is less, plus one piece.
    """
    name = encoding.strip().lower()
    if name in ("", "identity"):
        if len(body) > max_output:
            raise _too_large(max_output)
        return body
    limit = min(max_output, max(FREE_OUTPUT_BYTES, MAX_RATIO * len(body)))
    output = bytearray()
    with _refusing_damage(name):
        for piece in _decoder(name)(body):
            output += piece
            if len(output) > limit:
                raise _too_large(limit)
    return bytes(output)


def decompress_start(body: bytes, encoding: str, amount: int) -> bytes:
    """The first ``amount`` bytes of what ``decompress`` would give, or all when it is less. Raises ``BodyRefused``."""
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return body[:amount]
    output = bytearray()
    with _refusing_damage(name):
        for piece in _decoder(name)(body):
            output += piece
            if len(output) >= amount:
                break
    return bytes(output[:amount])


@contextmanager
def _refusing_damage(name: str) -> Iterator[None]:
    try:
        yield
    except (zlib.error, brotli.error, zstandard.ZstdError, EOFError) as error:
        raise BodyRefused(400, f"The body is not valid {name}", f"a whole {name} stream") from error


def _decoder(name: str) -> Callable[[bytes], Iterator[bytes]]:
    decoder = _DECODERS.get(name)
    if decoder is None:
        raise BodyRefused(415, "Unknown Content-Encoding", ", ".join(("identity", *_DECODERS)))
    return decoder


def _too_large(limit: int) -> BodyRefused:
    return BodyRefused(413, "The decompressed body is too large", f"at most {limit} bytes, {MAX_RATIO} times the body")


def _zlib_pieces(body: bytes, window_bits: int) -> Iterator[bytes]:
    decoder = zlib.decompressobj(window_bits)
    rest = body
    while not decoder.eof:
        piece = decoder.decompress(rest, _PIECE_BYTES)
        rest = decoder.unconsumed_tail
        if not piece and not rest and not decoder.eof:
            raise EOFError("ends too early")
        yield piece


def _gzip_pieces(body: bytes) -> Iterator[bytes]:
    return _zlib_pieces(body, 16 + zlib.MAX_WBITS)


def _deflate_pieces(body: bytes) -> Iterator[bytes]:
    # HTTP's "deflate" is zlib's format, but raw streams are met in the wild: the first byte tells them apart.
    is_zlib = len(body) > 1 and body[0] & 0x0F == 8 and (body[0] * 256 + body[1]) % 31 == 0
    return _zlib_pieces(body, zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS)


def _brotli_pieces(body: bytes) -> Iterator[bytes]:
    decoder = brotli.Decompressor()
    rest = body
    while not decoder.is_finished():
        piece = decoder.process(rest, output_buffer_limit=_PIECE_BYTES)
        rest = b""
        if not piece and decoder.can_accept_more_data() and not decoder.is_finished():
            raise EOFError("ends too early")
        yield piece


def _zstd_pieces(body: bytes) -> Iterator[bytes]:
    # The reader gives pieces of the asked size; the window is capped because it is allocated before any output.
    decoder = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES)
    _require_whole_zstd_frame(body)
    with decoder.stream_reader(body) as reader:
        while piece := reader.read(_PIECE_BYTES):
            yield piece


def _require_whole_zstd_frame(body: bytes) -> None:
    """The reader takes a torn stream for a short one: walks the block headers (RFC 8878, 3.1.1.2) to the last."""
    has_checksum = zstandard.get_frame_parameters(body).has_checksum
    position = zstandard.frame_header_size(body)
    last = False
    while not last:
        if position + 3 > len(body):
            raise EOFError("ends too early")
        header = int.from_bytes(body[position : position + 3], "little")
        last = bool(header & 1)
        position += 3 + (1 if header >> 1 & 3 == 1 else header >> 3)
    if position + (4 if has_checksum else 0) > len(body):
        raise EOFError("ends too early")


_DECODERS: dict[str, Callable[[bytes], Iterator[bytes]]] = {
    "gzip": _gzip_pieces,
    "deflate": _deflate_pieces,
    "br": _brotli_pieces,
    "zstd": _zstd_pieces,
}
