"""What is about the service itself: whether it lives and is ready, its version, and what its error codes mean."""

from http import HTTPStatus
from importlib.metadata import version
from typing import Literal

from fastapi import APIRouter, Request, Response
from starlette.responses import HTMLResponse

from app.api.errors import nothing_there
from app.api.explanations import EXPLANATIONS, told_of
from app.api.pages import text_page
from app.api.readiness import Readiness
from app.contract.base import Contract
from app.contract.errors import ErrorCode

router = APIRouter(tags=["service"])

_VERSION = version("pretune")


class Health(Contract):
    status: Literal["ok"] = "ok"


class Ready(Contract):
    """Each of the stores, and all of them together."""

    status: Literal["ok", "error"]
    checks: dict[str, Literal["ok", "error"]]


class Version(Contract):
    version: str


@router.get("/healthz")
async def get_health() -> Health:
    """Answers as long as the process lives."""
    return Health()


@router.get("/readyz", responses={503: {"model": Ready, "description": "A store does not answer."}})
async def get_readiness(request: Request, response: Response) -> Ready:
    """Whether the database, the broker and the store answer, each within a second."""
    readiness: Readiness = request.app.state.readiness
    found = await readiness.look()
    ready = all(found.values())
    response.status_code = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
    return Ready(
        status="ok" if ready else "error", checks={name: "ok" if passes else "error" for name, passes in found.items()}
    )


@router.get("/v1/version")
async def get_version() -> Version:
    """The version of this service."""
    return Version(version=_VERSION)


@router.get("/errors/{code}", response_class=HTMLResponse)
async def explain_error(code: str) -> HTMLResponse:
    """A page that tells what an error code means and what to do: where the `type` of a problem points."""
    try:
        explanation = EXPLANATIONS[ErrorCode(code)]
    except ValueError:
        raise nothing_there(f"/errors/{code}") from None
    return text_page(explanation.title, told_of(ErrorCode(code)), explanation.meaning, explanation.remedy)
