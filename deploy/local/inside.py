"""Runs a module of ours with the environment of the running stack: ``python -m deploy.local.inside <module> …``.

The stack is the one of PORT_OFFSET; the person's own variables win over it.
"""

import os
import runpy
import sys

from deploy.local.children import StartFailed
from deploy.local.plan import read_plan
from deploy.local.stack import read_environment_file


def main() -> int:
    """Set the environment and become the module; 1 when no module is named."""
    if len(sys.argv) < 2:
        print("Usage: python -m deploy.local.inside <module> [arguments]", file=sys.stderr)
        return 1
    try:
        plan = read_plan(os.environ)
    except StartFailed as error:
        print(error, file=sys.stderr)
        return 1
    known = read_environment_file(plan.environment_file)
    if not known:
        offset = f" with PORT_OFFSET={plan.offset}" if plan.offset else ""
        print(f"No local stack runs here{offset}; make run starts one.", file=sys.stderr)
    for name in set(os.environ) - set(plan.inherited(os.environ)):
        del os.environ[name]
    for name, value in known.items():
        os.environ.setdefault(name, value)
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
