"""Who may: OIDC bearer tokens, roles and offices, and one declaration per route.

Every route says who may use it: ``allow(Role.QUALITY_MANAGER)``, ``anyone()``, ``optional_principal()`` or, for hot
routes, ``hot(..., allows=…)``. ``undeclared_routes`` finds those that don't.
"""

from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, cast

from fastapi import Depends, FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.params import Depends as DependsMarker
from fastapi.routing import iter_route_contexts
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from shared.oidc import TokenVerifier
from shared.web.access import ANYONE, ANYONE_OR_PRINCIPAL, Access, Principal, Role, Verifier, unauthorized
from shared.web.hot import HotRoute
from shared.web.problems import Problem

__all__ = [
    "ANYONE",
    "ANYONE_OR_PRINCIPAL",
    "Access",
    "Principal",
    "Role",
    "RouteAccess",
    "TokenVerifier",
    "allow",
    "anyone",
    "declare_public",
    "hot",
    "optional_principal",
    "principal_or_none",
    "require",
    "route_accesses",
    "undeclared_routes",
]


_bearer = HTTPBearer(auto_error=False, scheme_name="oidc", bearerFormat="JWT", description="OIDC access token")
_Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="blitzableiter"'}


async def principal_or_none(request: Request) -> Principal | None:
    """The principal of the request's bearer token, ``None`` without one. Raises 401 for a token that is not good."""
    header = request.headers.get("authorization")
    if header is None:
        return None
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise unauthorized("Authorization must be a bearer token")
    verifier = cast(Verifier | None, getattr(request.app.state, "verifier", None))
    if verifier is None:
        raise RuntimeError("app.state.verifier is not set: pass verifier= to create_app")
    return await verifier.verify(token.strip())


async def require(request: Request, roles: frozenset[Role]) -> Principal:
    """The principal, who must hold one of ``roles``. Raises 401 without a good token, 403 without the role."""
    principal = await principal_or_none(request)
    if principal is None:
        raise Problem(401, "Sign-in needed", detail="Send a bearer token", headers=_CHALLENGE)
    if not principal.has(*roles):
        names = " or ".join(sorted(roles)) or Role.ADMIN
        raise Problem(403, "Not allowed", detail=f"Needs the role {names}")
    request.scope["principal"] = principal
    return principal


class _Allow:
    def __init__(self, roles: frozenset[Role]) -> None:
        self.access = Access(roles)

    async def __call__(self, request: Request, _credentials: _Credentials) -> Principal:
        return await require(request, self.access.roles or frozenset())


class _Optional:
    access = ANYONE_OR_PRINCIPAL

    async def __call__(self, request: Request, _credentials: _Credentials) -> Principal | None:
        return await principal_or_none(request)


class _Anyone:
    access = ANYONE

    async def __call__(self) -> None:
        return None


def allow(*roles: Role) -> Any:
    """Only principals with one of ``roles`` (an admin may all): ``dependencies=[allow(Role.FRONTLINE)]`` or
    ``principal: Principal = allow(Role.FRONTLINE)``."""
    return Depends(_Allow(frozenset(roles)))


def anyone() -> Any:
    """Public route: ``dependencies=[anyone()]``."""
    return Depends(_Anyone())


def optional_principal() -> Any:
    """Public route that treats a trusted token differently: ``principal: Principal | None = optional_principal()``."""
    return Depends(_Optional())


def hot(
    path: str,
    endpoint: Callable[[Request], Awaitable[Response]],
    *,
    methods: Collection[str],
    allows: Access | Collection[Role],
    request: Any = None,
    response: Any = None,
    status: int = 200,
    summary: str = "",
    openapi_extra: Mapping[str, Any] | None = None,
    in_schema: bool = True,
) -> HotRoute:
    """A plain Starlette route for the hot paths, served without FastAPI's machinery.

    ``allows`` is ``ANYONE``, ``ANYONE_OR_PRINCIPAL`` (read it with ``principal_or_none``) or roles; the principal of a
    guarded route is ``request.scope["principal"]``. ``request`` and ``response`` are the models (or any type) that the
    OpenAPI document shows; ``openapi_extra`` is merged into the operation.
    """
    access = allows if isinstance(allows, Access) else Access(frozenset(allows))
    return HotRoute(
        path,
        endpoint if access.roles is None else _guarded(endpoint, access.roles),
        methods=methods,
        access=access,
        dependency=_dependency(access),
        request=request,
        response=response,
        status=status,
        summary=summary,
        openapi_extra=openapi_extra,
        in_schema=in_schema,
        name=getattr(endpoint, "__name__", path),
    )


def _dependency(access: Access) -> DependsMarker:
    if access.roles is not None:
        return cast(DependsMarker, allow(*access.roles))
    return cast(DependsMarker, optional_principal() if access.token_read else anyone())


def _guarded(
    endpoint: Callable[[Request], Awaitable[Response]], roles: frozenset[Role]
) -> Callable[[Request], Awaitable[Response]]:
    async def guarded(request: Request) -> Response:
        await require(request, roles)
        return await endpoint(request)

    return guarded


def declare_public(route: BaseRoute) -> BaseRoute:
    """Marks a route that is neither FastAPI's nor hot (a mount of static files) as open to anyone."""
    route.access = ANYONE  # type: ignore[attr-defined]
    return route


@dataclass(frozen=True, slots=True)
class RouteAccess:
    """One route as the role matrix test sees it. ``access`` None: it declares nothing."""

    methods: tuple[str, ...]
    path: str
    access: Access | None


def route_accesses(app: FastAPI) -> list[RouteAccess]:
    """All routes of the application with their declarations, those of included routers and mounts too."""
    found = []
    for context in iter_route_contexts(app.routes):
        methods = tuple(sorted(context.methods or {"ANY"}))
        path = context.path_format or context.path or "?"
        access = getattr(context.original_route, "access", None)
        if access is None:
            dependant = getattr(context, "dependant", None) if hasattr(context, "dependant") else None
            access = next(_declared(dependant), None) if dependant is not None else None
        found.append(RouteAccess(methods, path, access))
    return found


def _declared(dependant: Dependant) -> Iterator[Access]:
    for dependency in dependant.dependencies:
        if isinstance(dependency.call, _Allow | _Optional | _Anyone):
            yield dependency.call.access
        yield from _declared(dependency)


def undeclared_routes(app: FastAPI) -> list[str]:
    """The routes that do not say who may use them, as ``GET /path``; empty when all do."""
    return [f"{','.join(route.methods)} {route.path}" for route in route_accesses(app) if route.access is None]
