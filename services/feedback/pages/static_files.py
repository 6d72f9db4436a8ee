"""Static files, read and packed once at start; their address changes with their content, so caches may keep them."""

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import brotli  # type: ignore[import-untyped]
from starlette.requests import Request
from starlette.responses import Response

_FOLDER: Final = Path(__file__).parent / "static"
_TYPES: Final = {".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
_KEPT: Final = "public, max-age=31536000, immutable"
_ASKED_EACH_TIME: Final = "no-cache"
"""For an address of another version: what stands there now may be kept, but never without asking."""
_BROTLI_QUALITY: Final = 9
"""28 kB of 340 in 20 ms; the best quality would make 23 of them in half a second of every start."""


@dataclass(frozen=True, slots=True)
class _File:
    media_type: str
    etag: str
    bodies: dict[str, bytes]
    """By encoding, the smallest first; the last is ``identity``."""


class StaticFiles:
    """The files of the folder ``static`` that a browser may ask for."""

    def __init__(self) -> None:
        self._files = {file.name: _packed(file) for file in sorted(_FOLDER.iterdir()) if file.suffix in _TYPES}
        digest = hashlib.sha256(b"".join(file.bodies["identity"] for file in self._files.values()))
        self._version = digest.hexdigest()[:12]

    def address(self, name: str) -> str:
        """The path of a file, with the version of all of them: a style sheet names others without one."""
        if name not in self._files:
            raise LookupError(f"there is no static file {name!r}")
        return f"/static/{self._version}/{name}"

    def answer(self, request: Request, version: str, name: str) -> Response:
        """The file, packed for those who take it so; 304 for those who have it, 404 for any other name."""
        file = self._files.get(name)
        if file is None:
            return Response(status_code=404)
        accepted = _accepted(request.headers.get("accept-encoding", ""))
        encoding = next((encoding for encoding in file.bodies if encoding in accepted), "identity")
        headers = {
            "Cache-Control": _KEPT if version == self._version else _ASKED_EACH_TIME,
            "ETag": f'"{file.etag}-{encoding}"',
            "Vary": "Accept-Encoding",
        }
        if headers["ETag"] in request.headers.get("if-none-match", "").replace("W/", "").replace(" ", "").split(","):
            return Response(status_code=304, headers=headers)
        if encoding != "identity":
            headers["Content-Encoding"] = encoding
        return Response(file.bodies[encoding], headers=headers, media_type=file.media_type)


def _packed(file: Path) -> _File:
    plain = file.read_bytes()
    bodies = {
        "br": brotli.compress(plain, quality=_BROTLI_QUALITY),
        "gzip": gzip.compress(plain, 9, mtime=0),
        "identity": plain,
    }
    return _File(_TYPES[file.suffix], hashlib.sha256(plain).hexdigest()[:16], bodies)


def _accepted(accept_encoding: str) -> set[str]:
    """The encodings that a header names and does not refuse by ``q=0``."""
    accepted = set()
    for choice in accept_encoding.lower().split(",")[:20]:
        name, _, weight = choice.replace(" ", "").partition(";q=")
        if weight.strip("0.") or not weight:
            accepted.add(name)
    return accepted
