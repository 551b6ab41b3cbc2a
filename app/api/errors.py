"""ServiceError as RFC 9457."""

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from app.contract.errors import ServiceError


def install_error_handlers(app: FastAPI) -> None:
    app.add_exception_handler(ServiceError, _service_error)


async def _service_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ServiceError)
    return JSONResponse({"code": error.code, "detail": error.detail}, error.status)
