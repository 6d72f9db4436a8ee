"""``make clean``: removes the data and logs of stacks that do not run. What was downloaded stays."""

import sys

from deploy.local.children import StartFailed
from deploy.local.data import remove_all_data


def main() -> int:
    """1 with a plain sentence when a stack runs."""
    try:
        remove_all_data()
    except StartFailed as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
