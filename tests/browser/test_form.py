"""The form and the receipt page in a real browser, with JavaScript off."""

import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from playwright.async_api import Page

from services.feedback.texts import ENGLISH, GERMAN, Texts
from tests.browser import chromium
from tests.browser.conftest import Site

Visit = Callable[..., Awaitable[Page]]
STATIC = Path("services/feedback/pages/static")


async def sent(page: Page) -> str:
    """Sends the form and returns the receipt code."""
    await page.click("button[type=submit]")
    return await page.inner_text(".receipt__code")


@pytest.mark.parametrize(("locale", "texts"), [("de-DE", GERMAN), ("en-GB", ENGLISH), ("tr-TR", GERMAN)])
async def test_a_report_in_three_steps(visit: Visit, site: Site, locale: str, texts: Texts) -> None:
    """Office by link, one tap, send: a receipt, and a row. The language is the browser's."""
    page = await visit("/?office=JC-003", locale=locale)
    assert await page.inner_text("h1") == texts.form_title
    assert await page.get_attribute("html", "lang") == texts.lang
    await page.get_by_text(texts.ratings[0], exact=True).click()
    code = await sent(page)
    assert re.fullmatch(r"([0-9A-Z]{4}-){4}[0-9A-Z]", code)
    assert await page.inner_text("h1") == texts.received_title
    assert await site.rows("select office, rating, kind, lang from report") == [("JC-003", 1, "rating", locale[:2])]


async def test_everything_filled_in(visit: Visit, site: Site) -> None:
    """Text, reasons, office and service arrive; the page shows what was stored, with placeholders."""
    page = await visit("/")
    await page.fill("#text", "Der Upload bricht ab.\nRufen Sie an: 0170 1234567 <b>")
    await page.check("input[value=it_online]")
    await page.check("input[value=employee]")
    await page.select_option("#office", "JC-001")
    await page.select_option("#service", "document-upload")
    await sent(page)
    stored = "Der Upload bricht ab.\nRufen Sie an: [PHONE] <b>"
    assert await page.inner_text("blockquote") == stored
    [row] = await site.rows("select office, service, text, drivers, cause, blames_person from report")
    assert row == ("JC-001", "document-upload", stored, ["it_online", "employee"], "system", True)


@pytest.mark.parametrize(("locale", "texts"), [("de-DE", GERMAN), ("en-GB", ENGLISH)])
async def test_an_error_keeps_everything(visit: Visit, site: Site, locale: str, texts: Texts) -> None:
    """A missing office: the field is named, and text, rating and reasons are still there."""
    page = await visit("/", locale=locale)
    words = '\nErste Zeile leer & <b>fett</b> "Zitat"'
    await page.fill("#text", words)
    await page.check("#rating-2")
    await page.check("input[value=payment]")
    await page.click("button[type=submit]")
    assert texts.error_office in await page.inner_text(".notice")
    assert await page.inner_text("#office-error") == texts.error_office
    assert await page.get_attribute("#office", "aria-invalid") == "true"
    assert await page.input_value("#text") == words
    assert await page.is_checked("#rating-2")
    assert await page.is_checked("input[value=payment]")
    assert await site.rows("select count(*) from report") == [(0,)]
    await page.select_option("#office", "JC-001")
    await sent(page)
    assert await site.rows("select count(*) from report") == [(1,)]


async def test_an_empty_form(visit: Visit, site: Site) -> None:
    """Neither rating nor text: said kindly, nothing stored."""
    page = await visit("/?office=JC-001")
    await page.click("button[type=submit]")
    assert GERMAN.error_empty in await page.inner_text(".notice")
    assert await site.rows("select count(*) from report") == [(0,)]


async def test_a_double_submit_stores_once(visit: Visit, site: Site) -> None:
    """Back and send again, as after a double tap or a reload: the same receipt, one row."""
    page = await visit("/?office=JC-001")
    await page.check("#rating-1")
    first = await sent(page)
    await page.go_back()
    await page.check("#rating-1")
    assert await sent(page) == first
    await page.reload()
    assert await page.inner_text(".receipt__code") == first
    assert await site.rows("select count(*) from report") == [(1,)]


async def test_a_changed_form_under_the_same_key(visit: Visit, site: Site) -> None:
    """Back, another text, send: the first report stands, the text is kept, and sending again makes a second one."""
    page = await visit("/?office=JC-001")
    await page.fill("#text", "Eins")
    first = await sent(page)
    await page.go_back()
    await page.fill("#text", "Zwei")
    await page.click("button[type=submit]")
    assert GERMAN.error_key_reused in await page.inner_text(".notice")
    assert await page.input_value("#text") == "Zwei"
    assert await sent(page) != first
    assert await site.rows("select text from report order by submitted_at") == [("Eins",), ("Zwei",)]


async def test_the_receipt_page(visit: Visit) -> None:
    """The code as typed by hand leads to the story; typing errors and unknown codes are told apart and kept."""
    page = await visit("/?office=JC-001&lang=en")
    await page.check("#rating-1")
    code = await sent(page)
    await page.get_by_text(ENGLISH.receipt_form_title).click()
    await page.fill("#receipt", code.lower().replace("-", " ").replace("0", "o"))
    await page.click("button[type=submit]")
    assert await page.inner_text(".state") == "Received"
    assert "Your report has arrived." in await page.inner_text(".story")
    assert code not in page.url
    await page.get_by_text(ENGLISH.receipt_another).click()
    await page.fill("#receipt", code[:-1] + ("2" if code[-1] != "2" else "3"))
    await page.click("button[type=submit]")
    assert await page.inner_text("#receipt-error") == ENGLISH.error_receipt_typo
    await page.fill("#receipt", "0000-0000-0000-0000-0")
    await page.click("button[type=submit]")
    assert await page.inner_text("#receipt-error") == ENGLISH.error_receipt_unknown
    assert await page.input_value("#receipt") == "0000-0000-0000-0000-0"


async def test_switching_the_language_keeps_the_office(visit: Visit) -> None:
    """One tap to the other language and back."""
    page = await visit("/?office=JC-004")
    await page.click("text=English")
    assert await page.inner_text("h1") == ENGLISH.form_title
    assert await page.input_value("#office") == "JC-004"
    await page.click("text=Deutsch")
    assert await page.inner_text("h1") == GERMAN.form_title


@pytest.mark.parametrize("width", [320, 390, 1280])
async def test_nothing_sticks_out_or_is_refused(visit: Visit, width: int) -> None:
    """No sideways scrolling, no error in the console (a violated policy would be one), no request to anybody else."""
    page = await visit("/?office=JC-001", scripts=True, width=width)
    messages: list[str] = []
    foreign: list[str] = []
    page.on("console", lambda message: messages.append(message.text))
    page.on("request", lambda request: foreign.append(request.url) if "127.0.0.1" not in request.url else None)
    await page.reload()
    await page.check("#rating-1")
    assert await page.evaluate("document.documentElement.scrollWidth") <= width
    await sent(page)
    assert await page.evaluate("document.documentElement.scrollWidth") <= width
    assert await page.evaluate(
        "document.querySelector('.receipt__code').scrollWidth <= document.querySelector('.receipt').clientWidth"
    )
    await page.goto(page.url.split("?")[0] + "receipt")
    assert await page.evaluate("document.documentElement.scrollWidth") <= width
    assert messages == []
    assert foreign == []
    assert await page.evaluate("document.cookie + localStorage.length + sessionStorage.length") == "00"


async def test_targets_are_large(visit: Visit) -> None:
    """Everything to tap is at least 44 pixels high."""
    page = await visit("/?office=JC-001", scripts=True)
    for selector in (".tile", "button", "select", ".bar a", ".after a"):
        for element in await page.query_selector_all(selector):
            box = await element.bounding_box()
            assert box is not None
            assert box["height"] >= 44, selector


async def test_the_keyboard_alone(visit: Visit, site: Site) -> None:
    """Tab, arrows, typing and Enter send a report."""
    page = await visit("/?office=JC-001")
    await page.focus("#rating-5")
    await page.keyboard.press("Space")
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Tab")
    await page.keyboard.type("Mit der Tastatur")
    await page.focus("button")
    await page.keyboard.press("Enter")
    await page.wait_for_selector(".receipt__code")  # unlike a click, a key does not wait for the next page
    assert await page.inner_text("h1") == GERMAN.received_title
    assert await site.rows("select rating, text, kind from report") == [(4, "Mit der Tastatur", "praise")]


def test_the_vendored_style_sheet_is_the_packages() -> None:
    """What is shipped is byte for byte what the pinned package holds, licence included."""
    package = chromium.node_modules() / "@kern-ux" / "native"
    [shipped] = STATIC.glob("kern-*.min.css")
    assert shipped.read_bytes() == (package / "dist" / "kern.min.css").read_bytes()
    assert (STATIC / "kern-LICENSE.md").read_bytes() == (package / "LICENSE.md").read_bytes()
