"""The image's steps, run in a clean directory and an empty environment, as there may be no engine to build it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.deploy.containers import ROOT, instructions

IMPORT_ALL = """
import importlib, pkgutil
names = ["deploy.healthcheck", "deploy.kafka.topics"]
for package in ("services", "shared"):
    found = importlib.import_module(package)
    names += [module.name for module in pkgutil.walk_packages(found.__path__, package + ".")]
for name in names:
    importlib.import_module(name)
print(len(names))
"""


def test_the_image_runs_as_nobody_special_and_installs_by_hash_only() -> None:
    """Multi-stage, a numeric user that is not root (so that Kubernetes can check it), locked and hashed packages."""
    steps = instructions()
    assert [keyword for keyword, _ in steps].count("FROM") == 2
    user = [rest for keyword, rest in steps if keyword == "USER"][-1]
    assert int(user.split(":")[0]) > 0
    installs = [rest for keyword, rest in steps if keyword == "RUN" and "pip install" in rest]
    assert installs
    assert all("--require-hashes" in rest for rest in installs)
    assert any(keyword == "HEALTHCHECK" for keyword, _ in steps)


@pytest.mark.timeout(300)
def test_the_install_steps_give_an_environment_in_which_everything_imports(tmp_path: Path) -> None:
    """The RUN and COPY steps of the Dockerfile, moved below a temporary root; nothing of this checkout is in reach."""
    app = tmp_path / "app"
    app.mkdir()
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "python").symlink_to(Path(sys.executable).resolve())
    clean = {"PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    clean |= {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "REQUESTS_"))}
    clean |= {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
    for keyword, rest in instructions():
        if keyword == "COPY" and "--from" not in rest:
            copy_step(rest.split(), app, tmp_path)
        if keyword == "RUN" and not rest.startswith("useradd"):
            moved = re.sub(r"(?<=\s)/(?=(opt|tmp)/)|^/(?=opt/)", f"{tmp_path}/", rest)
            done = subprocess.run(
                ["/bin/sh", "-ec", moved], cwd=app, env=clean, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{rest}\n{done.stdout}{done.stderr}"
    python = tmp_path / "opt" / "venv" / "bin" / "python"
    bare = {"PATH": clean["PATH"], "HOME": clean["HOME"], "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([python, "-c", IMPORT_ALL], cwd=app, env=bare, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 10


def copy_step(arguments: list[str], app: Path, root: Path) -> None:
    """A COPY of files or directories, as the engine does it: a directory's content, a file by its name."""
    *sources, target = arguments
    destination = root / target.lstrip("/") if target.startswith("/") else app / target
    for source in sources:
        origin = ROOT / source
        if origin.is_dir():
            shutil.copytree(origin, destination, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            final = destination / origin.name if target.endswith("/") else destination
            final.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(origin, final)
