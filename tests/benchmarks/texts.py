"""Bodies to send: ratings without words, and complaints of about 400 characters in six languages."""

import json
from pathlib import Path
from random import Random
from typing import Any

COMPLAINTS = Path("deploy/demo/complaints.jsonl")
LENGTH = 400
Body = dict[str, Any]


def ratings(count: int) -> list[Body]:
    """Ratings of twelve offices, no text."""
    return [
        {"office": f"JC-{1 + n % 12:03d}", "service": "payment", "channel": "web", "lang": "de", "kind": "rating",
         "rating": 1 + n % 5}
        for n in range(count)
    ]  # fmt: skip


def complaints(count: int, length: int = LENGTH) -> list[Body]:
    """Complaints made of the demo's sentences, cut at ``length`` characters; the same ones at every run."""
    rows = [json.loads(line) for line in COMPLAINTS.read_text(encoding="utf-8").splitlines()]
    by_language: dict[str, list[str]] = {}
    for row in rows:
        by_language.setdefault(row["lang"], []).append(row["text"])
    dice = Random(11)
    bodies = []
    for _ in range(count):
        row = dice.choice(rows)
        text = row["text"]
        while len(text) < length:
            text += " " + dice.choice(by_language[row["lang"]])
        bodies.append(
            {"office": row["office"], "service": row["service"], "channel": "web", "lang": row["lang"],
             "kind": "complaint", "text": text[:length]}
        )  # fmt: skip
    return bodies
