"""Where archives are fetched from: the mirrors and proxies that this machine has for Maven, or for jgo.

jgo obeys HTTPS_PROXY, NO_PROXY and REQUESTS_CA_BUNDLE by itself, through requests. What it does not read is Maven's
``~/.m2/settings.xml``: its mirrors, servers and proxies are read here.
"""

import os
import re
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit
from xml.etree import ElementTree

from jgo.config import GlobalSettings
from jgo.maven import MavenContext

from deploy.local.children import StartFailed


def repositories() -> dict[str, str]:
    """Repositories by name in the order of asking: those of jgo's settings, then Maven's mirror, else Maven Central.

    A proxy of Maven's settings goes into the environment of this process, where requests looks for it. Raises
    StartFailed when the settings cannot be read.
    """
    own: dict[str, str] = GlobalSettings.load().repositories
    settings_file = Path.home() / ".m2" / "settings.xml"
    if not settings_file.exists():
        return {**own, **_central()}
    try:
        settings = ElementTree.parse(settings_file).getroot()  # noqa: S314 - the person's own file
    except ElementTree.ParseError as error:
        raise StartFailed(f"{settings_file} cannot be read: {error}") from None
    _use_proxy(settings)
    return {**own, **(_mirror(settings) or _central())}


def _central() -> dict[str, str]:
    """What jgo asks when it is told nothing: Maven Central."""
    found: dict[str, str] = MavenContext().remote_repos
    return found


def _mirror(settings: ElementTree.Element) -> dict[str, str] | None:
    for mirror in settings.iterfind("{*}mirrors/{*}mirror"):
        names = {name.strip() for name in _text(mirror, "mirrorOf").split(",")}
        url = _text(mirror, "url")
        if url and names & {"*", "central", "external:*"} and "!central" not in names:
            return {"mirror": _with_login(url.rstrip("/"), settings, _text(mirror, "id"))}
    return None


def _with_login(url: str, settings: ElementTree.Element, server_id: str) -> str:
    for server in settings.iterfind("{*}servers/{*}server"):
        if _text(server, "id") == server_id and _text(server, "username"):
            address = urlsplit(url)
            return urlunsplit(address._replace(netloc=f"{_login(server)}{address.netloc}"))
    return url


def _use_proxy(settings: ElementTree.Element) -> None:
    """Maven's active proxy and the hosts that need none, unless the environment names a proxy."""
    if any(os.environ.get(name) for name in ("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY")):
        return
    for proxy in settings.iterfind("{*}proxies/{*}proxy"):
        if _text(proxy, "active") in {"", "true"} and _text(proxy, "host"):
            address = f"http://{_login(proxy)}{_text(proxy, 'host')}:{_text(proxy, 'port') or '8080'}"
            os.environ["https_proxy"] = os.environ["http_proxy"] = address
            direct = [host.strip().removeprefix("*") for host in _text(proxy, "nonProxyHosts").split("|")]
            if any(direct) and not os.environ.get("no_proxy") and not os.environ.get("NO_PROXY"):
                os.environ["no_proxy"] = ",".join(host for host in direct if host)
            return


def _login(element: ElementTree.Element) -> str:
    user, password = _text(element, "username"), _text(element, "password")
    return f"{quote(user, safe='')}:{quote(password, safe='')}@" if user else ""


def _text(element: ElementTree.Element, name: str) -> str:
    """The text of a child, with ``${env.NAME}`` filled in as Maven does it."""
    text = element.findtext(f"{{*}}{name}", "").strip()
    return re.sub(r"\$\{env\.(\w+)\}", lambda found: os.environ.get(found.group(1), ""), text)
