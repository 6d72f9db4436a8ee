"""``make pictures``: pictures of the pages of the running stack, for the README and for a designer's eye."""

import asyncio
import os
from pathlib import Path

from playwright.async_api import async_playwright

from tests.browser import chromium

FOLDER = Path("docs/pictures")
PAGES = {"form": "/?office=JC-001", "receipt": "/receipt"}
SIZES = {"phone": (390, 844), "desktop": (1280, 900)}


async def take() -> None:
    """Writes one PNG a page and size, in German and whole length."""
    address = os.environ.get("FEEDBACK_URL", "http://127.0.0.1:8001")
    FOLDER.mkdir(parents=True, exist_ok=True)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=str(chromium.executable()), args=chromium.arguments(), env={**chromium.environment()}
        )
        for size, (width, height) in SIZES.items():
            page = await browser.new_page(viewport={"width": width, "height": height}, locale="de-DE")
            for name, path in PAGES.items():
                await page.goto(f"{address}{path}")
                await page.screenshot(path=FOLDER / f"{name}-{size}.png", full_page=True)
                print(FOLDER / f"{name}-{size}.png")
        await browser.close()


if __name__ == "__main__":
    asyncio.run(take())
