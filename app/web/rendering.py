"""Templates to answers: what every page may load and do, and how values are written.

Scripts and styles come from this service alone. Their address holds a digest of them all, so browsers keep them for
good and never mix two versions.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from pydantic import BaseModel
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from app.api.auth import SESSION_COOKIE
from app.contract.evaluations import p_words

STATIC = Path(__file__).parent / "static"


def _digest(folder: Path) -> str:
    total = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        total.update(path.name.encode() + b"\0" + path.read_bytes())
    return total.hexdigest()[:16]


STATIC_URL = f"/static/{_digest(STATIC)}"
#: Images are drawn from data as well; a page frames nothing and is framed by nobody.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
ABSENT = "\N{EN DASH}"
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Assets(StaticFiles):
    """The files of one digest, which never change."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        if response.status_code == HTTPStatus.OK:
            response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
            response.headers["X-Content-Type-Options"] = "nosniff"
        return response


def render(
    request: Request,
    template: str,
    /,
    status: HTTPStatus = HTTPStatus.OK,
    headers: Mapping[str, str] | None = None,
    **context: Any,
) -> HTMLResponse:
    known = {"path": request.url.path, "signed_in": SESSION_COOKIE in request.cookies}
    text = _ENVIRONMENT.get_template(template).render(known | context)
    return HTMLResponse(text, status, HEADERS | dict(headers or {}))


def _as_json(value: object) -> Markup:
    """For a script element of data, which only `<` could end early."""
    text = json.dumps(value, default=_jsonable, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))  # noqa: S704  escaped in the only way that JSON allows


def _jsonable(value: object) -> object:
    assert isinstance(value, BaseModel), value
    return value.model_dump(mode="json")


def _bytes(size_bytes: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size_bytes < 1000:
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.3g} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.3g} TB"


def _count(value: float) -> str:
    for unit in ("", "K", "M", "G"):
        if value < 1000:
            return f"{value:.0f}{unit}" if unit == "" else f"{value:.3g}{unit}"
        value /= 1000
    return f"{value:.3g}T"


def _figure(value: float | None) -> str:
    """A metric: four digits that tell."""
    return ABSENT if value is None else f"{value:,.4g}"


def _setting(value: object) -> str:
    """A value of a spec or a profile."""
    if isinstance(value, list):
        return ", ".join(map(_setting, value))
    return json.dumps(value) if isinstance(value, bool | None) else str(value)


def _words(name: str) -> str:
    return name.replace("_", " ")


def kind_of_job(kind: str) -> str:
    """`batch prediction`: what a job of that kind is."""
    return _KINDS[kind]


_KINDS = {
    "pretrain": "pretrain",
    "finetune": "fine-tune",
    "batch_predict": "batch prediction",
    "evaluate": "evaluation",
}


def _time(at: datetime | None) -> str:
    """In UTC; the page's script tells it in the reader's own words."""
    if at is None:
        return ABSENT
    stamp = at.strftime("%Y-%m-%dT%H:%M:%SZ")
    return Markup('<time datetime="{}">{} UTC</time>').format(stamp, at.strftime("%Y-%m-%d %H:%M"))


_ENVIRONMENT = Environment(
    loader=PackageLoader("app.web"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=StrictUndefined,
    auto_reload=False,
)
_ENVIRONMENT.filters.update(
    data=_as_json,
    bytes=_bytes,
    count=_count,
    figure=_figure,
    setting=_setting,
    words=_words,
    p_words=p_words,
    kind=kind_of_job,
    time=_time,
)
_ENVIRONMENT.globals.update(static=STATIC_URL, version=version("pretune"))
