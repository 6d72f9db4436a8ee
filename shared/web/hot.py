"""Hot routes: plain Starlette endpoints that the edge calls directly, described for OpenAPI by their models."""

import inspect
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

from fastapi import Body
from fastapi.params import Depends
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from shared.web.access import Access


class HotRoute(Route):
    """A route with its access declaration and its description. Made by ``shared.auth.hot``."""

    def __init__(
        self,
        path: str,
        endpoint: Callable[[Request], Awaitable[Response]],
        *,
        methods: Collection[str],
        access: Access,
        dependency: Depends | None = None,
        request: Any = None,
        response: Any = None,
        status: int = 200,
        summary: str = "",
        openapi_extra: Mapping[str, Any] | None = None,
        in_schema: bool = True,
        name: str | None = None,
    ) -> None:
        super().__init__(path, endpoint, methods=list(methods), name=name, include_in_schema=in_schema)
        self.access = access
        self._dependency = dependency
        self._request = request
        self._response = response
        self._status = status
        self._summary = summary
        self._openapi_extra = dict(openapi_extra or {})

    def described(self) -> APIRoute:
        """The same route as FastAPI would have it: never served, read by the OpenAPI generator only."""

        def endpoint() -> None:
            """Replaced by the signature below."""

        parameters = [
            inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=str)
            for name in self.param_convertors
        ]
        if self._request is not None:
            parameters.append(
                inspect.Parameter("body", inspect.Parameter.KEYWORD_ONLY, default=Body(), annotation=self._request)
            )
        endpoint.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        endpoint.__name__ = self.name
        endpoint.__doc__ = None
        return APIRoute(
            self.path_format,
            endpoint,
            methods=sorted((self.methods or set()) - {"HEAD"}),
            response_model=self._response,
            status_code=self._status,
            summary=self._summary or None,
            dependencies=[self._dependency] if self._dependency is not None else [],
            include_in_schema=self.include_in_schema,
            openapi_extra=self._openapi_extra or None,
        )
