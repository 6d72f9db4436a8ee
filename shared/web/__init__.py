"""HTTP plumbing: problem details, safe reading, cursor pages and the application factory."""

from shared.web.app import create_app
from shared.web.paging import DEFAULT_LIMIT, Cursor, Limit, Page, decode_cursor, encode_cursor
from shared.web.problems import FieldError, Problem
from shared.web.reading import CleanText, Int64, read_json, read_json_as, require_json

__all__ = [
    "DEFAULT_LIMIT",
    "CleanText",
    "Cursor",
    "FieldError",
    "Int64",
    "Limit",
    "Page",
    "Problem",
    "create_app",
    "decode_cursor",
    "encode_cursor",
    "read_json",
    "read_json_as",
    "require_json",
]
