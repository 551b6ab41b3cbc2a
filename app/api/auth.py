"""Who calls, and whether they may. A key belongs to a project, and whoever presents it acts for that project, as far
as the key's scopes go.

A service that listens on loopback and has never had a key asks for none: everything belongs to the project `default`.
Then it answers only what comes from this machine on purpose. A page of some site in this machine's browser does not:
by DNS rebinding it can reach us under its own name, which the Host header tells, and a form that it posts across sites
carries its Origin.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer, SecurityScopes

from app.api.rates import RateLimiter
from app.contract.errors import Forbidden, InsufficientScope, Unauthenticated
from app.contract.scopes import Scope, permits
from app.db.tables import DEFAULT_PROJECT_ID
from app.services.authentication import Authenticator
from app.services.keys import BOOTSTRAP_PREFIX, Presented
from app.settings import Settings, is_loopback

_HOST = re.compile(r"(\[(?P<address>[0-9a-f:.]+)\]|(?P<name>[0-9a-z.-]+))(:[0-9]+)?")
#: The dashboard's; see `app.web.session`.
SESSION_COOKIE = "pretune_key"
BEARER = HTTPBearer(auto_error=False, description="An API key: `pretune keys create` makes one.")


@dataclass(frozen=True, slots=True)
class Caller:
    """`key_id` is null where no key was asked for: then everything is open."""

    project_id: str
    key_id: str | None = None
    scopes: Sequence[Scope] = (Scope.ADMIN,)


@dataclass(frozen=True, slots=True)
class Gate:
    settings: Settings
    authenticator: Authenticator
    rates: RateLimiter

    async def caller(self, request: Request, key: str | None, needed: Scope) -> Caller:
        """Raises Unauthenticated, Forbidden, InsufficientScope and RateLimited. A key that nobody asked for is not
        looked at.
        """
        caller = await self._known(request, key)
        self.rates.take(caller.project_id)
        if key is not None and not permits(caller.scopes, needed):
            raise InsufficientScope(
                f"{_named(key)} has the scopes {', '.join(caller.scopes)}, and this call needs {needed}. "
                f"Take a key that has it; `pretune keys create --scope {needed}` makes one."
            )
        return caller

    async def _known(self, request: Request, key: str | None) -> Caller:
        if await self._is_open():
            _check_local(request, self.settings)
            return Caller(DEFAULT_PROJECT_ID)
        if key is None:
            raise Unauthenticated(
                "This service asks for a key: send it as `Authorization: Bearer <key>`. "
                "`pretune keys create` makes one."
            )
        found = await self.authenticator.find(key)
        if found is None:
            raise Unauthenticated(
                f"{_named(key)} is unknown, revoked or expired. "
                "`pretune keys list` shows those that stand, and `pretune keys create` makes a new one."
            )
        return Caller(found.project_id, found.id, found.scopes)

    async def _is_open(self) -> bool:
        return self.settings.on_loopback and not await self.authenticator.any_made()


Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)]


async def get_caller(request: Request, credentials: Credentials, asked: SecurityScopes) -> Caller:
    """Every route names one scope: one that forgets to lets nobody in."""
    gate: Gate = request.app.state.services.gate
    [needed] = asked.scopes
    return await gate.caller(request, credentials.credentials if credentials else _of_cookie(request), Scope(needed))


async def get_observer(request: Request, credentials: Credentials, asked: SecurityScopes) -> None:
    """For figures of the whole service: on loopback open to this machine, elsewhere to the keys of every project."""
    gate: Gate = request.app.state.services.gate
    if gate.settings.on_loopback:
        _check_local(request, gate.settings)
    else:
        await get_caller(request, credentials, asked)


def check_same_origin(request: Request) -> None:
    """Raises Forbidden where the browser says that another origin's page asks, be it only another port of this host.

    Browsers tell `Sec-Fetch-Site` on https and on loopback; elsewhere `Origin` comes with what may change anything.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    host = request.headers.get("host", "").lower()
    if site is None and origin is not None:
        site = "same-origin" if origin.partition("://")[2].lower() == host else "cross-site"
    if site not in {None, "same-origin", "none"}:
        raise Forbidden(
            f"The key in this browser's cookie is for the dashboard's own pages, and this call is {site}. "
            "Send the key as `Authorization: Bearer <key>`."
        )


def _of_cookie(request: Request) -> str | None:
    key = request.cookies.get(SESSION_COOKIE)
    if key is not None:
        check_same_origin(request)
    return key


def _check_local(request: Request, settings: Settings) -> None:
    if request.client is not None and not is_loopback(request.client.host):
        raise Unauthenticated(
            "This service has no key yet, and until then answers its own machine alone. "
            "Make one with `pretune keys create`."
        )
    host = request.headers.get("host", "")
    if not is_loopback(_name(host)) and _name(host) not in settings.allowed_hosts:
        raise Forbidden(
            f"Without keys this service is reached as localhost, and not as {host!r}. Use that name, "
            "add yours to PRETUNE_ALLOWED_HOSTS, or make a key with `pretune keys create`."
        )
    origin = request.headers.get("origin")
    if origin is not None and origin.partition("://")[2].lower() != host.lower():
        raise Forbidden(
            f"Without keys this service takes no calls from pages of another origin, such as {origin!r}. "
            "Make a key with `pretune keys create` and send it."
        )


def _named(key: str) -> str:
    """How a key is called where its secret must not be read."""
    prefix = Presented.of(key).prefix
    return "The key" if prefix == BOOTSTRAP_PREFIX else f"The key {prefix}..."


def _name(host: str) -> str:
    """A Host header without its port, and an IPv6 address without its brackets; empty where it is none."""
    parts = _HOST.fullmatch(host.lower())
    return "" if parts is None else parts["address"] or parts["name"]
