"""The pages: a form, what it led to, the look-up of a receipt. No cookie, no script, nothing stored in the browser."""

import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from fastapi import APIRouter
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from services.feedback.desk import desk_of
from services.feedback.domain.incidents import Incident
from services.feedback.domain.receipts import MistypedReceipt
from services.feedback.handlers import (
    Accepted,
    KeyReused,
    Refused,
    ToldStory,
    random_key,
    submit_report,
    tell_receipt,
)
from services.feedback.pages.reading import Entered, entered_in, errors_of, fields_of, submission_of
from services.feedback.pages.static_files import StaticFiles
from services.feedback.texts import TEXTS, Texts, texts_accepted
from shared.auth import anyone
from shared.groupcommit import Overloaded
from shared.postgres import DatabaseBusy

_TIME_ZONE: Final = ZoneInfo("Europe/Berlin")
_FAULTS_SHOWN: Final = 3
_KEY_BYTES: Final = 24
_RETRY_AFTER: Final = "5"
_LONGEST_FORM: Final = 192 * 1024
"""Bytes: 10,000 characters of any script, written as %XX, and the rest of the form."""
_SAME_FORM_ON_BACK: Final = "private, no-cache"
"""With ``no-store`` the back button would fetch a form with another key, and sending again would store twice."""


class Pages:
    """Renders the templates."""

    def __init__(self, static: StaticFiles) -> None:
        self._templates = Environment(
            loader=FileSystemLoader(Path(__file__).parent / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals["static"] = static.address

    def form(
        self,
        request: Request,
        texts: Texts,
        entered: Entered,
        *,
        errors: dict[str, str] | None = None,
        notice: str = "",
        status: int = 200,
    ) -> Response:
        """The form with what was entered so far."""
        catalogue = desk_of(request).catalogue.current
        services = [(key, one.name.get(texts.lang, one.name["de"])) for key, one in catalogue.services.items()]
        return self._page(
            request,
            "form.html",
            texts,
            status,
            entered=entered,
            errors=errors or {},
            notice=notice,
            key=entered.key or secrets.token_urlsafe(_KEY_BYTES),
            lang=entered.lang,
            offices=[(key, office.name) for key, office in catalogue.offices.items()],
            services=[(key, name) for key, name in services if key != "other"],
        )

    def received(self, request: Request, texts: Texts, accepted: Accepted) -> Response:
        """The receipt, shown once."""
        report = accepted.report
        faults = desk_of(request).incidents.of_service(report.service, _FAULTS_SHOWN)
        return self._page(
            request,
            "received.html",
            texts,
            receipt=accepted.receipt,
            masked_text=report.text,
            office=report.office,
            faults=[_fault(incident, texts) for incident in faults],
        )

    def receipt(
        self,
        request: Request,
        texts: Texts,
        *,
        told: ToldStory | None = None,
        code: str = "",
        error: str = "",
        status: int = 200,
    ) -> Response:
        """The look-up of a receipt, or its story."""
        story = _story(told, texts) if told else None
        return self._page(request, "receipt.html", texts, status, story=story, code=code, error=error)

    def _page(self, request: Request, template: str, texts: Texts, status: int = 200, **values: Any) -> Response:
        query = {name: value for name, value in request.query_params.items() if name in ("office", "service")}
        path = "/receipt" if request.scope["path"] == "/receipt" else "/"
        switch = f"{path}?{urlencode({**query, 'lang': texts.other_lang})}"
        body = self._templates.get_template(template).render(t=texts, switch=switch, **values)
        return HTMLResponse(body, status, headers={"Content-Language": texts.lang, "Vary": "Accept-Language"})


def _fault(incident: Incident, texts: Texts) -> dict[str, str | None]:
    lang, words = incident.words_in(texts.lang)
    return {
        "lang": lang,
        "title": words.title if words else incident.title,
        "text": words.text if words else None,
        "workaround": words.workaround if words else None,
        "since": texts.since.format(at=_when(incident.first_seen_at, texts)),
        "affected": _affected(incident.affected, texts),
    }


def _story(told: ToldStory, texts: Texts) -> dict[str, Any]:
    story = told.story
    _, words = story.incident.words_in(texts.lang) if story.incident else ("", None)
    title = words.title if words else story.incident.title if story.incident else ""
    entries = [
        {"at": at, "when": _when(at, texts), "text": texts.moments[what].format(title=title)}
        for at, what in story.moments
    ]
    return {"state": story.state, "entries": entries, "affected": _affected(story.affected, texts)}


def _affected(affected: int | None, texts: Texts) -> str | None:
    return None if affected is None else texts.affected.format(count=affected)


def _when(at: datetime, texts: Texts) -> str:
    return at.astimezone(_TIME_ZONE).strftime(texts.instant)


def _texts(request: Request) -> Texts:
    chosen = TEXTS.get(request.query_params.get("lang", ""))
    return chosen or texts_accepted(request.headers.get("accept-language"))


def router() -> APIRouter:
    """The routes of all pages."""
    static = StaticFiles()
    pages = Pages(static)
    routes = APIRouter(dependencies=[anyone()], include_in_schema=False)

    @routes.get("/")
    async def show_form(request: Request) -> Response:
        """An empty form; ``?office=`` and ``?service=`` choose beforehand, ``?lang=`` the language."""
        query = request.query_params
        lang = query.get("lang", "") if query.get("lang") in TEXTS else ""
        entered = Entered(office=query.get("office", ""), service=query.get("service", "other"), lang=lang)
        answer = pages.form(request, _texts(request), entered)
        answer.headers["Cache-Control"] = _SAME_FORM_ON_BACK
        return answer

    @routes.post("/")
    async def send_form(request: Request) -> Response:
        """Stores the report and shows its receipt, or shows the form again with everything that was entered."""
        return await _send_form(pages, request)

    @routes.get("/receipt")
    async def show_receipt_form(request: Request) -> Response:
        """The field for a receipt code."""
        return pages.receipt(request, _texts(request))

    @routes.post("/receipt")
    async def show_story(request: Request) -> Response:
        """What became of a report. The code comes in the body, so that no history and no log holds it."""
        texts = _texts(request)
        code = fields_of(await request.body()).get("receipt", [""])[0]
        try:
            told = await tell_receipt(desk_of(request), code)
        except MistypedReceipt:
            return pages.receipt(request, texts, code=code, error=texts.error_receipt_typo, status=404)
        except DatabaseBusy:
            answer = pages.receipt(request, texts, code=code, error=texts.error_receipt_busy, status=503)
            answer.headers["Retry-After"] = _RETRY_AFTER
            return answer
        if told is None:
            return pages.receipt(request, texts, code=code, error=texts.error_receipt_unknown, status=404)
        return pages.receipt(request, texts, told=told)

    @routes.get("/static/{version}/{name}")
    async def get_static(request: Request, version: str, name: str) -> Response:
        """A style sheet or picture of the pages."""
        return static.answer(request, version, name)

    return routes


async def _send_form(pages: Pages, request: Request) -> Response:
    texts = _texts(request)
    body = await request.body()
    entered = entered_in(fields_of(body))
    errors = errors_of(entered, texts)
    too_large = len(body) > _LONGEST_FORM
    if errors or too_large:
        errors = errors or {"text": texts.error_text}
        return pages.form(request, texts, entered, errors=errors, status=413 if too_large else 422)
    submission = submission_of(entered, texts, request.headers.get("accept-language"))
    key = entered.key.encode() or random_key()
    try:
        accepted = await submit_report(desk_of(request), submission, key, datetime.now(UTC))
    except Refused as refusal:
        messages = {"office": texts.error_office, "service": texts.error_service, "text": texts.error_empty}
        field = "rating" if refusal.field == "text" else refusal.field
        errors = {field: messages.get(refusal.field, texts.error_other)}
        return pages.form(request, texts, entered, errors=errors, status=422)
    except KeyReused:
        fresh = Entered(entered.office, entered.service, entered.rating, entered.drivers, entered.text, entered.lang)
        return pages.form(request, texts, fresh, notice=texts.error_key_reused, status=422)
    except (Overloaded, DatabaseBusy):
        answer = pages.form(request, texts, entered, notice=texts.error_busy, status=503)
        answer.headers["Retry-After"] = _RETRY_AFTER
        return answer
    return pages.received(request, texts, accepted)
