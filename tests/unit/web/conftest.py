"""Clients of the sample application, in process."""

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from tests.unit.web import sample


@pytest.fixture
def app() -> FastAPI:
    return sample.build()


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with sample.client_of(app) as found:
        yield found
