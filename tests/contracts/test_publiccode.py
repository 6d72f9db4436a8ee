"""``publiccode.yml`` follows the standard's core schema, version 0.4."""

import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from shared.web.app import VERSION

TEXT = {"type": "string", "minLength": 1}
DESCRIPTION = {
    "type": "object",
    "required": ["shortDescription", "longDescription", "features"],
    "properties": {
        "shortDescription": {"type": "string", "maxLength": 150},
        "longDescription": {"type": "string", "minLength": 150, "maxLength": 10_000},
        "genericName": {"type": "string", "maxLength": 35},
        "features": {"type": "array", "minItems": 1, "items": {"type": "string", "maxLength": 100}},
    },
    "additionalProperties": False,
}
STATUS = ["concept", "development", "beta", "stable", "obsolete"]
TYPES = ["standalone/mobile", "standalone/iot", "standalone/desktop", "standalone/web", "standalone/backend",
         "standalone/other", "addon", "library", "configurationFiles"]  # fmt: skip
CORE: dict[str, Any] = {
    "type": "object",
    "required": ["publiccodeYmlVersion", "name", "url", "releaseDate", "platforms", "categories", "developmentStatus",
                 "softwareType", "description", "legal", "maintenance", "localisation"],
    "properties": {
        "publiccodeYmlVersion": {"const": "0.4"},
        "name": TEXT,
        "url": {"type": "string", "pattern": "^https://"},
        "softwareVersion": {"type": "string", "pattern": r"^\d+\.\d+\.\d+$"},
        "releaseDate": {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}$"},
        "platforms": {"type": "array", "minItems": 1, "items": TEXT},
        "categories": {"type": "array", "minItems": 1, "items": TEXT},
        "intendedAudience": {"type": "object"},
        "developmentStatus": {"enum": STATUS},
        "softwareType": {"enum": TYPES},
        "description": {"type": "object", "minProperties": 1, "additionalProperties": DESCRIPTION},
        "legal": {"type": "object", "required": ["license"], "properties": {"license": {"const": "EUPL-1.2"}}},
        "maintenance": {
            "type": "object",
            "required": ["type"],
            "properties": {"type": {"enum": ["internal", "contract", "community", "none"]}, "contacts": {
                "type": "array", "minItems": 1, "items": {"type": "object", "required": ["name"]}}},
        },
        "localisation": {"type": "object", "required": ["localisationReady", "availableLanguages"]},
        "dependsOn": {"type": "object"},
    },
    "additionalProperties": False,
}  # fmt: skip


def _published() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(Path("publiccode.yml").read_text(encoding="utf-8"))
    return loaded


def test_publiccode_is_valid() -> None:
    """Every required key is there, and no key is misspelt."""
    jsonschema.validate(_published(), CORE)


@pytest.mark.parametrize("key", CORE["required"])
def test_a_missing_key_is_found(key: str) -> None:
    """The schema above can fail: each required key, once removed, is noticed."""
    published = _published()
    del published[key]
    with pytest.raises(jsonschema.ValidationError, match=key):
        jsonschema.validate(published, CORE)


def test_one_release_has_one_number() -> None:
    """The package, the services, the image and publiccode.yml name the same version."""
    package = tomllib.loads(Path("pyproject.toml").read_text())["project"]["version"]
    assert _published()["softwareVersion"] == package
    assert package == VERSION
    assert yaml.safe_load(Path("docker-compose.yml").read_text())["x-product"]["image"] == f"blitzableiter:{package}"


def test_the_readme_is_filled_in() -> None:
    """No mark of a template is left."""
    assert "@@" not in Path("README.md").read_text(encoding="utf-8")
