"""The development issuer as a process, and the tool that asks it for a token."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from shared.auth import Role
from shared.oidc import TokenVerifier
from shared.web import Problem

ROOT = Path(__file__).parents[3]
PORT = 18105
URL = f"http://127.0.0.1:{PORT}"
SECONDS = 20.0


def _environment(directory: Path, **changes: str) -> dict[str, str]:
    return {
        **os.environ,
        "ISSUER_PORT": str(PORT),
        "ISSUER_KEY_FILE": str(directory / "keys.json"),
        "OIDC_ISSUER": URL,
        "PYTHONUNBUFFERED": "1",
        **changes,
    }


def _run(module: str, *arguments: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )


@contextmanager
def _running(directory: Path) -> Iterator[Path]:
    output = directory / "issuer.log"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "deploy.local.issuer"],
            cwd=ROOT,
            env=_environment(directory, BLITZ_DEV_ISSUER="1"),
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        try:
            deadline = time.monotonic() + SECONDS
            while not _answers():
                assert process.poll() is None and time.monotonic() < deadline, output.read_text()
                time.sleep(0.05)
            yield output
            process.terminate()
            assert process.wait(SECONDS) == 0
        finally:
            process.kill()
            process.wait()


def _answers() -> bool:
    try:
        return httpx.get(f"{URL}/.well-known/openid-configuration").is_success
    except httpx.HTTPError:
        return False


async def test_make_token_prints_just_the_token_and_it_outlives_a_restart(tmp_path: Path) -> None:
    """The last line is the token; the issuer says that it is on; after a restart the token is still good."""
    environment = _environment(tmp_path)
    with _running(tmp_path) as output:
        assert "DEVELOPMENT ISSUER IS ON" in output.read_text()
        asked = _run("deploy.local.token", "role=quality_manager", "offices=JC-001", environment=environment)
        assert asked.returncode == 0, asked.stderr
        token = asked.stdout.splitlines()[-1]
        refused = _run("deploy.local.token", "role=king", environment=environment)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "role" in refused.stderr and "king" not in refused.stdout
    with _running(tmp_path):
        async with httpx.AsyncClient() as client:
            principal = await TokenVerifier(URL, "blitzableiter", "roles", "offices", client).verify(token)
            assert principal.roles == {Role.QUALITY_MANAGER}
            assert principal.offices == frozenset({"JC-001"})
            with pytest.raises(Problem):
                await TokenVerifier(URL, "another", "roles", "offices", client).verify(token)
        assert token not in (tmp_path / "issuer.log").read_text()


def test_it_refuses_to_start_unasked_or_beyond_loopback(tmp_path: Path) -> None:
    """78 and a sentence, nothing listens."""
    unasked = _run("deploy.local.issuer", environment=_environment(tmp_path, BLITZ_DEV_ISSUER=""))
    beyond = _run(
        "deploy.local.issuer", environment=_environment(tmp_path, BLITZ_DEV_ISSUER="1", ISSUER_HOST="0.0.0.0")
    )
    assert (unasked.returncode, beyond.returncode) == (78, 78)
    assert "BLITZ_DEV_ISSUER=1" in unasked.stderr
    assert "loopback" in beyond.stderr
    assert not (tmp_path / "keys.json").exists()


def test_without_an_issuer_the_tool_says_what_to_do(tmp_path: Path) -> None:
    """69 and a hint; wrong arguments are 64 and the usage."""
    missing = _run("deploy.local.token", "role=admin", environment=_environment(tmp_path))
    assert (missing.returncode, missing.stdout) == (69, "")
    assert "make run" in missing.stderr
    wrong = _run("deploy.local.token", "admin", environment=_environment(tmp_path))
    assert wrong.returncode == 64
    assert "usage" in wrong.stderr
