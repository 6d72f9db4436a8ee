"""Asks the running development issuer for a token and prints just that on the last line.

``python -m deploy.local.token role=quality_manager offices=JC-001``
"""

import os
import sys
from collections.abc import Mapping, Sequence

import httpx

from deploy.local.issuer import IssuerSettings

USAGE = "usage: python -m deploy.local.token role=quality_manager [offices=JC-001,JC-002] [subject=somebody]"


def main(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> int:
    """64 for arguments that are no ``name=value``, 69 when the issuer does not answer, 1 when it refuses."""
    wanted = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    if len(wanted) != len(arguments) or "role" not in wanted:
        print(USAGE, file=sys.stderr)
        return os.EX_USAGE
    url = environment.get("OIDC_ISSUER") or IssuerSettings().url
    try:
        answer = httpx.post(f"{url}/token", json={name: value for name, value in wanted.items() if value}, timeout=5)
    except httpx.HTTPError as error:
        print(f"No issuer answers at {url} ({type(error).__name__}). Is `make run` running?", file=sys.stderr)
        return os.EX_UNAVAILABLE
    if answer.is_error:
        problem = answer.json()
        for refused in problem.get("errors", []):
            print(f"{refused['field']}: {refused['message']}", file=sys.stderr)
        print(f"The issuer refused: {problem['title']}", file=sys.stderr)
        return 1
    print(answer.json()["access_token"])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
