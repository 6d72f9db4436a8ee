"""The committed JSON Schemas of the events, one file a topic: ``python -m shared.events.schema_files [--check]``.

Events stay in the log for good and readers are deployed apart from writers. A change within a version must therefore
keep old events readable for new readers and new events readable for old ones: additive changes only.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from shared.events import EVENTS, Event

Schema = Mapping[str, Any]
FOLDER = Path(__file__).parent / "schemas"
_WORDS_ABOUT = frozenset({"title", "description", "examples", "$schema", "$id", "$defs", "$comment"})
_STRUCTURE = frozenset({"properties", "required", "enum", "const", "items", "prefixItems", "anyOf", "oneOf", "$ref"})


def schema_of(event_type: type[Event]) -> dict[str, Any]:
    """The JSON Schema (2020-12) of an event's body as readers see it."""
    schema = event_type.model_json_schema(mode="validation")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"{event_type.topic}.json", **schema}


def rendered(event_type: type[Event]) -> str:
    """The text of the committed file."""
    return json.dumps(schema_of(event_type), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def breaking_changes(old: Schema, new: Schema) -> list[str]:
    """What forbids replacing ``old`` by ``new`` within a version; empty when the change is additive.

    Additive: a new property that is not required, a further word in an enumeration, other titles and descriptions.
    """
    return list(_compare(_Pair(old, new, old, new), "event", frozenset()))


class _Pair(NamedTuple):
    """The same place in both schemas, with the roots that their references point into."""

    old: Schema
    new: Schema
    old_root: Schema
    new_root: Schema

    def inside(self, old: Schema, new: Schema) -> "_Pair":
        return self._replace(old=old, new=new)


def _compare(pair: _Pair, at: str, seen: frozenset[str]) -> Iterator[str]:
    visited = f"{pair.old.get('$ref')}→{pair.new.get('$ref')}"
    if "$ref" in pair.old and visited in seen:
        return
    seen = seen | {visited}
    pair = pair.inside(_resolved(pair.old, pair.old_root), _resolved(pair.new, pair.new_root))
    yield from _compare_values(pair.old, pair.new, at)
    yield from _compare_variants(pair, at, seen)
    yield from _compare_properties(pair, at, seen)
    for word in ("items", "additionalProperties"):
        old, new = pair.old.get(word), pair.new.get(word)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _compare(pair.inside(old, new), f"{at}[]", seen)
        elif old != new:
            yield f"{at}: {word} changed"


def _compare_values(old: Schema, new: Schema, at: str) -> Iterator[str]:
    gone = [word for word in _words(old) if word not in _words(new)]
    if gone and _words(new):
        yield f"{at}: removed from the enumeration: {', '.join(map(str, gone))}"
    elif bool(_words(old)) != bool(_words(new)):
        yield f"{at}: became {'an enumeration' if _words(new) else 'free of its enumeration'}"
    for word in sorted(set(old) | set(new)):
        if word in _WORDS_ABOUT or word in _STRUCTURE or word == "additionalProperties":
            continue
        if old.get(word) != new.get(word):
            yield f"{at}: {word} changed from {old.get(word)!r} to {new.get(word)!r}"


def _compare_variants(pair: _Pair, at: str, seen: frozenset[str]) -> Iterator[str]:
    for word in ("anyOf", "oneOf", "prefixItems"):
        before, after = pair.old.get(word, []), pair.new.get(word, [])
        if len(before) != len(after):
            yield f"{at}: {word} has {len(after)} variants instead of {len(before)}"
            continue
        for number, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from _compare(pair.inside(one, other), f"{at}<{number}>", seen)


def _compare_properties(pair: _Pair, at: str, seen: frozenset[str]) -> Iterator[str]:
    before, after = pair.old.get("properties", {}), pair.new.get("properties", {})
    for name in before:
        if name not in after:
            yield f"{at}.{name}: removed"
        else:
            yield from _compare(pair.inside(before[name], after[name]), f"{at}.{name}", seen)
    was, is_now = set(pair.old.get("required", [])), set(pair.new.get("required", []))
    for name in sorted(is_now - was):
        yield f"{at}.{name}: is required now; events in the log may lack it"
    for name in sorted((was - is_now) & set(after)):
        yield f"{at}.{name}: is optional now; readers of the old schema need it"


def _words(schema: Schema) -> list[Any]:
    return [schema["const"]] if "const" in schema else list(schema.get("enum", []))


def _resolved(schema: Schema, root: Schema) -> Schema:
    if "$ref" not in schema:
        return schema
    target: Any = root
    for step in schema["$ref"].removeprefix("#/").split("/"):
        target = target[step]
    return {**target, **{word: value for word, value in schema.items() if word != "$ref"}}


def check(folder: Path = FOLDER) -> Iterator[str]:
    """What is wrong with the committed files: missing, changed in a breaking way, or merely not written anew."""
    expected = {f"{event_type.topic}.json": event_type for event_type in EVENTS}
    for name, event_type in expected.items():
        file = folder / name
        if not file.exists():
            yield f"{name} is missing; run: python -m shared.events.schema_files"
            continue
        breaks = breaking_changes(json.loads(file.read_text()), schema_of(event_type))
        yield from (f"{name}: {what}; a break needs a new class and a new topic" for what in breaks)
        if not breaks and file.read_text() != rendered(event_type):
            yield f"{name} is not current; run: python -m shared.events.schema_files"
    for file in sorted(folder.glob("*.json")):
        if file.name not in expected:
            yield f"{file.name} belongs to no event: a topic whose events are in the log cannot be forgotten"


def main(arguments: Sequence[str]) -> int:
    """Writes the files, or with ``--check`` only looks; a breaking change is refused either way."""
    if arguments == ["--check"]:
        problems = list(check())
    else:
        problems = [problem for problem in check() if "run: python" not in problem]
        if not problems:
            FOLDER.mkdir(exist_ok=True)
            for event_type in EVENTS:
                (FOLDER / f"{event_type.topic}.json").write_text(rendered(event_type))
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
