"""The committed schemas are those of the code, and a change that is not additive is refused."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.events import EVENTS, FeedbackSubmittedV1, IncidentChangedV1
from shared.events.schema_files import FOLDER, breaking_changes, check, rendered, schema_of

Change = Callable[[dict[str, Any]], object]


def changed(change: Change, event_type: Any = FeedbackSubmittedV1) -> list[str]:
    """The breaking changes between an event's schema and the same after ``change``."""
    old = schema_of(event_type)
    new = copy.deepcopy(old)
    change(new)
    return breaking_changes(old, new)


def test_the_committed_schemas_are_current() -> None:
    """Every event has its file, no file is stale and none is left over."""
    assert list(check()) == []


def test_every_event_has_a_topic_and_a_version() -> None:
    """The class name and the topic carry the same version."""
    for event_type in EVENTS:
        assert event_type.topic.endswith(f".v{event_type.__name__.rsplit('V', 1)[1]}")


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s["properties"].update(invited_by={"type": "string", "default": "x"}),
        lambda s: s["$defs"]["Channel"]["enum"].append("pigeon"),
        lambda s: s.update(description="other words"),
        lambda s: s["properties"]["office"].update(title="Office of the report"),
    ],
    ids=["optional property", "further word", "description", "title"],
)
def test_an_additive_change_is_accepted(change: Change) -> None:
    """Old readers ignore what they do not know, new readers find all they need in old events."""
    assert changed(change) == []


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda s: s["properties"].pop("office"), "event.office: removed"),
        (
            lambda s: (s["properties"].update(team={"type": "string"}), s["required"].append("team")),
            "event.team: is req",
        ),
        (lambda s: s["required"].remove("office"), "event.office: is optional"),
        (lambda s: s["$defs"]["Channel"]["enum"].remove("web"), "enumeration: web"),
        (lambda s: s["properties"]["office"].update(type="integer"), "event.office: type changed"),
        (lambda s: s["properties"]["office"].update(maxLength=6), "event.office: maxLength changed"),
        (lambda s: s["properties"]["office"].update(enum=["JC-001"]), "event.office: became an enumeration"),
        (lambda s: s["$defs"]["Channel"].pop("enum"), "free of its enumeration"),
        (lambda s: s["properties"]["rating"]["anyOf"].pop(), "anyOf has 1 variants"),
        (lambda s: s["properties"]["rating"]["anyOf"][0]["enum"].remove(5), "enumeration: 5"),
        (lambda s: s["properties"]["drivers"].update(items={"type": "string"}), "event.drivers[]"),
        (lambda s: s["properties"]["submitted_at"].pop("format"), "format changed"),
        (lambda s: s.update(additionalProperties=False), "additionalProperties changed"),
    ],
)
def test_a_breaking_change_is_refused(change: Change, named: str) -> None:
    """Each way to leave a reader or an old event behind is found and named."""
    assert any(named in found for found in changed(change)), changed(change)


def test_a_break_inside_a_nested_model_is_found() -> None:
    """Nested models are compared too, at every place they are used."""
    found = changed(lambda s: s["$defs"]["Transition"]["properties"].pop("at"), IncidentChangedV1)
    assert found == ["event.transitions[].at: removed"]
    assert changed(lambda s: s["$defs"]["PublicText"]["properties"].pop("title"), IncidentChangedV1)


def test_the_check_names_missing_stale_and_broken_files(tmp_path: Path) -> None:
    """The tool says which file is wrong and what to do."""
    for event_type in EVENTS:
        (tmp_path / f"{event_type.topic}.json").write_text(rendered(event_type))
    stale = json.loads((FOLDER / "heat.reported.v1.json").read_text())
    stale["description"] = "before"
    (tmp_path / "heat.reported.v1.json").write_text(json.dumps(stale))
    broken = json.loads((FOLDER / "signal.linked.v1.json").read_text())
    broken["properties"]["gone"] = {"type": "string"}
    (tmp_path / "signal.linked.v1.json").write_text(json.dumps(broken))
    (tmp_path / "error.reported.v1.json").unlink()
    (tmp_path / "left.over.v1.json").write_text("{}")
    problems = "\n".join(check(tmp_path))
    assert "heat.reported.v1.json is not current" in problems
    assert "signal.linked.v1.json: event.gone: removed" in problems
    assert "error.reported.v1.json is missing" in problems
    assert "left.over.v1.json belongs to no event" in problems
