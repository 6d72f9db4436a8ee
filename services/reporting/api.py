"""HTTP in: the figures, for reporters and quality managers, narrowed to their offices."""

from collections.abc import Callable
from typing import Annotated

import asyncpg
from fastapi import APIRouter, Query

from services.reporting import answers, readings
from services.reporting.answers import CausesAnswer, FixTimesAnswer, SatisfactionAnswer, TimesAnswer, TimingsAnswer
from services.reporting.domain.shares import INTERVAL_SOURCE
from services.reporting.questions import PeriodQuestion, Question, scope_of, too_many_groups
from shared.auth import Principal, Role, allow
from shared.catalogue import Catalogue

MAX_GROUPS = 5000

SATISFACTION_DEFINITIONS = {
    "n": "reports with a rating from 1 to 5, of any kind",
    "csat": "share of the ratings 4 and 5",
    "interval": INTERVAL_SOURCE,
    "suppressed": "fewer than k ratings; a hidden group may still follow from the total",
}
CAUSES_DEFINITIONS = {
    "n": "complaints",
    "cause": "in force: the cause of the complaint's confirmed incident (that it was merged into, if it was), "
    "else what was judged on arrival",
    "system_error_share": "complaints whose cause in force is 'system', of all complaints, unclear ones included",
    "interval": INTERVAL_SOURCE,
    "suppressed": "fewer than k complaints; a hidden group may still follow from the total",
}
TIMINGS_DEFINITIONS = {
    "period": "incidents that ever were a candidate or confirmed, by the instant they were first observed",
    "acknowledge": "from first observed or candidate to first confirmed; open: observed or candidate, never confirmed",
    "fix": "from first confirmed to the first fix; open: confirmed, mitigating or regressed, never fixed",
    "came_back": "fixed once, and open again now; still counted with the first fix",
    "percentiles": "a time that really occurred, as long as or longer than that share of all times (no interpolation)",
    "clock": "wall clock, not business hours",
}


def api(pool: Callable[[], asyncpg.Pool], catalogue: Callable[[], Catalogue], k: int) -> APIRouter:
    """The routes of the figures; ``k`` is the smallest group that shows a figure."""
    router = APIRouter(prefix="/v1", tags=["figures"])
    asker = allow(Role.REPORTER, Role.QUALITY_MANAGER)

    @router.get("/satisfaction", response_model_exclude_unset=True)
    async def satisfaction(question: Annotated[Question, Query()], principal: Principal = asker) -> SatisfactionAnswer:
        """Ratings: mean, share of 4 and 5 with interval, distribution; by office, service, channel, language, week."""
        scope = scope_of(question, principal, catalogue())
        async with readings.snapshot(pool()) as conn:
            groups = await readings.list_satisfaction(conn, scope, MAX_GROUPS + 1)
            as_of = await readings.get_data_as_of(conn)
        if len(groups) > MAX_GROUPS:
            raise too_many_groups(MAX_GROUPS)
        return SatisfactionAnswer(
            by=scope.by,
            period=answers.period(scope),
            k=k,
            total=answers.satisfaction_total(groups, k),
            groups=[answers.satisfaction_group(group, k) for group in groups] if scope.by else [],
            definitions=SATISFACTION_DEFINITIONS,
            data_as_of=answers.data_as_of(as_of),
        )

    @router.get("/causes", response_model_exclude_unset=True)
    async def causes(question: Annotated[Question, Query()], principal: Principal = asker) -> CausesAnswer:
        """Complaints by cause in force, and the share of system errors with interval."""
        scope = scope_of(question, principal, catalogue())
        async with readings.snapshot(pool()) as conn:
            groups = await readings.list_causes(conn, scope, MAX_GROUPS + 1)
            as_of = await readings.get_data_as_of(conn)
        if len(groups) > MAX_GROUPS:
            raise too_many_groups(MAX_GROUPS)
        return CausesAnswer(
            by=scope.by,
            period=answers.period(scope),
            k=k,
            total=answers.causes_total(groups, k),
            groups=[answers.causes_group(group, k) for group in groups] if scope.by else [],
            definitions=CAUSES_DEFINITIONS,
            data_as_of=answers.data_as_of(as_of),
        )

    @router.get("/timings")
    async def timings(question: Annotated[PeriodQuestion, Query()], principal: Principal = asker) -> TimingsAnswer:
        """How long incidents took to be acknowledged and fixed; those still open are counted apart."""
        scope = scope_of(question, principal, catalogue())
        async with readings.snapshot(pool()) as conn:
            figures = await readings.get_timings(conn, scope)
            as_of = await readings.get_data_as_of(conn)
        return TimingsAnswer(
            period=answers.period(scope),
            acknowledge=TimesAnswer.model_validate(answers.times(figures.acknowledge)),
            fix=FixTimesAnswer.model_validate({**answers.times(figures.fix), "came_back": figures.came_back}),
            definitions=TIMINGS_DEFINITIONS,
            data_as_of=answers.data_as_of(as_of),
        )

    return router
