"""Static files, read and packed once at start; their address changes with their content, so caches may keep them."""

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

_FOLDER = Path(__file__).parent / "static"
_TYPES = {".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
_KEPT = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class _File:
    media_type: str
    plain: bytes
    packed: bytes


class StaticFiles:
    """The files of the folder ``static`` that a browser may ask for."""

    def __init__(self) -> None:
        self._files = {
            file.name: _File(_TYPES[file.suffix], file.read_bytes(), gzip.compress(file.read_bytes(), 9, mtime=0))
            for file in sorted(_FOLDER.iterdir())
            if file.suffix in _TYPES
        }
        digest = hashlib.sha256(b"".join(file.plain for file in self._files.values()))
        self._version = digest.hexdigest()[:12]

    def address(self, name: str) -> str:
        """The path of a file, with the version of all of them: a style sheet names others without one."""
        if name not in self._files:
            raise LookupError(f"there is no static file {name!r}")
        return f"/static/{self._version}/{name}"

    def answer(self, request: Request, version: str, name: str) -> Response:
        """The file, packed for those who take it so; 404 for any other name."""
        file = self._files.get(name)
        if file is None:
            return Response(status_code=404)
        headers = {"Vary": "Accept-Encoding"}
        headers["Cache-Control"] = _KEPT if version == self._version else "no-store"
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(file.packed, headers={**headers, "Content-Encoding": "gzip"}, media_type=file.media_type)
        return Response(file.plain, headers=headers, media_type=file.media_type)
