"""Asks the service of this container whether it is ready: 0 or 1, for the image's HEALTHCHECK."""

import http.client
import os
import sys

PORT_VARIABLES = ("FEEDBACK_PORT", "INCIDENTS_PORT", "REPORTING_PORT")
_TIMEOUT_SECONDS = 4


def main() -> int:
    """0 when the one service whose port is set answers 200 at /health/ready."""
    ports = [os.environ[name] for name in PORT_VARIABLES if name in os.environ]
    if len(ports) != 1:
        print(f"Exactly one of {', '.join(PORT_VARIABLES)} must be set.", file=sys.stderr)
        return 1
    connection = http.client.HTTPConnection("127.0.0.1", int(ports[0]), timeout=_TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/health/ready")
        answer = connection.getresponse()
        print(answer.read().decode(errors="replace"))
    except OSError as error:
        print(error, file=sys.stderr)
        return 1
    return 0 if answer.status == http.client.OK else 1


if __name__ == "__main__":
    sys.exit(main())
