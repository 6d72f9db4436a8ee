"""A real browser, and the form in front of a real service.

Playwright's asyncio client: its other one keeps a loop running in this thread, which breaks every asynchronous test.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest
from playwright.async_api import Browser, Page, async_playwright

from tests.browser import chromium
from tests.fixtures.databases import Database
from tests.fixtures.processes import ServiceProcess

HEIGHT = 844


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """Chromium from the pinned packages; half a second to start, so every test has its own."""
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(
            executable_path=str(chromium.executable()), args=chromium.arguments(), env={**chromium.environment()}
        )
        yield launched
        await launched.close()


@dataclass(frozen=True, slots=True)
class Site:
    """The pages of a running feedback service, and its database."""

    url: str
    place: Database

    async def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What a query finds in the service's database."""
        connection = await asyncpg.connect(self.place.admin_dsn)
        try:
            return [tuple(row) for row in await connection.fetch(query)]
        finally:
            await connection.close()


@pytest.fixture
def site(service_process: Callable[..., ServiceProcess], database: Callable[[str], Database]) -> Site:
    """A service, ready."""
    place = database("feedback")
    process = service_process("feedback", database_of=place).start().wait_ready()
    return Site(process.url, place)


@pytest.fixture
def visit(browser: Browser, site: Site) -> Callable[..., Awaitable[Page]]:
    """``await visit("/", locale="de-DE")``: a page on a phone, without JavaScript unless asked for."""

    async def open_page(path: str, *, locale: str = "de-DE", scripts: bool = False, width: int = 390) -> Page:
        context = await browser.new_context(
            locale=locale,
            java_script_enabled=scripts,
            viewport={"width": width, "height": HEIGHT},
            service_workers="block",
        )
        page = await context.new_page()
        await page.goto(site.url + path)
        return page

    return open_page
