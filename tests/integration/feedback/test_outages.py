"""What is left when the others are away, and what the process says about itself."""

from collections.abc import Callable

import asyncpg
import httpx

from deploy.local.postgres import Postgres
from services.feedback.texts import ENGLISH
from tests.fixtures.databases import Database
from tests.fixtures.processes import ServiceProcess
from tests.fixtures.waiting import eventually
from tests.integration.feedback.conftest import Feedback, new_key, rating


async def test_without_kafka(
    service_process: Callable[..., ServiceProcess], database: Callable[[str], Database]
) -> None:
    """With no broker at all, reports, receipts and known faults are answered; readiness says why it is not ready."""
    place = database("feedback")
    process = service_process("feedback", database_of=place, env={"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9"}).start()
    async with httpx.AsyncClient(base_url=process.url, timeout=20) as client:

        async def is_live() -> bool:
            try:
                return (await client.get("/health/live")).status_code == 200
            except httpx.TransportError:
                return False

        await eventually(is_live)
        accepted = await client.post("/v1/reports", json=rating())
        assert accepted.status_code == 202
        receipt = {"receipt": accepted.json()["receipt"]}
        assert (await client.post("/v1/receipts/lookup", json=receipt)).json()["state"] == "received"
        assert (await client.get("/v1/known-faults")).status_code == 200
        ready = await client.get("/health/ready")
        assert (ready.status_code, ready.json()["checks"]["database"]) == (503, "ok")
        assert ready.json()["checks"]["broker"] != "ok"
    connection = await asyncpg.connect(place.admin_dsn)
    assert await connection.fetchval("select count(*) from outbox") == 2
    await connection.close()


async def test_database_away(feedback: Feedback, postgres_server: Postgres) -> None:
    """While the database restarts: 503 with Retry-After, the form keeps the text; afterwards all goes on by itself."""
    receipt = (await feedback.report(rating())).json()["receipt"]
    await feedback.database.close()
    postgres_server.stop("immediate")
    try:
        answer = await feedback.report(rating())
        form = {"office": "JC-001", "text": "Mein Text", "key": new_key()}
        page = await feedback.client.post("/", data=form)
        look_up = await feedback.client.post("/receipt?lang=en", data={"receipt": "7Q4M-0ZKT-9R2C-XW8H-5"})
        typed = await feedback.client.post("/receipt?lang=en", data={"receipt": receipt})
    finally:
        postgres_server.start()
    assert answer.status_code == 503
    assert 1 <= int(answer.headers["retry-after"]) <= 5
    assert page.status_code == 503
    assert "Mein Text" in page.text
    assert form["key"] in page.text
    assert look_up.status_code == 404  # a typing error is known without the database
    assert (typed.status_code, typed.headers["retry-after"]) == (503, "5")
    assert ENGLISH.error_receipt_busy in typed.text and receipt in typed.text

    async def accepted() -> bool:
        return (await feedback.report(rating())).status_code == 202

    await eventually(accepted, within=20)
    sent = await feedback.client.post("/", data=form)
    assert sent.status_code == 200


async def test_a_stale_schema(
    service_process: Callable[..., ServiceProcess], database: Callable[[str], Database]
) -> None:
    """On a database that lacks a migration the service refuses to start and names the command."""
    place = database("feedback")
    connection = await asyncpg.connect(place.admin_dsn)
    await connection.execute("delete from schema_migration where name = 'feedback/0001_init.sql'")
    await connection.close()
    process = service_process("feedback", database_of=place).start()
    assert process.wait_exit() == 78
    assert "python -m shared.migrate services.feedback" in process.log()


async def test_a_report_survives_the_end_of_the_process(feedback: Feedback) -> None:
    """SIGTERM ends in good order with code 0, and what was answered is stored and published."""
    for _ in range(3):
        assert (await feedback.report(rating())).status_code == 202
    assert feedback.process.terminate() == 0
    assert await feedback.count("report") == 3
    assert await feedback.count("outbox") == 0
