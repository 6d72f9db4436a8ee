"""How connections find the figures: by search_path, so that a rebuild runs the same statements on its own tables."""

from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

LIVE = "figures"


def figures_dsn(dsn: str, schema: str = LIVE) -> str:
    """``dsn`` with the tables of ``schema`` before those of ``public``.

    Plans are made for each call: a plan made while a table was empty would read it whole for ever after.
    """
    parts = urlsplit(dsn)
    options = dict(parse_qsl(parts.query))
    options |= {"search_path": f"{schema},public", "plan_cache_mode": "force_custom_plan", "jit": "off"}
    return urlunsplit(parts._replace(query=urlencode(options)))
