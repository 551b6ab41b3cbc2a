"""`/docs`: Swagger UI without a network. Its files come in a package; the page itself loads nothing from elsewhere."""

from importlib.util import find_spec
from pathlib import Path

from fastapi import APIRouter, FastAPI
from fastapi.responses import HTMLResponse, PlainTextResponse
from fastapi.staticfiles import StaticFiles

from app.api.pages import HEADERS, POLICY

ASSETS = "/docs/assets"
#: Swagger UI's own style sheet holds its icons as data; its script sets styles on elements.
_POLICY = f"{POLICY}; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'"
_PAGE = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Pretune API</title>
<link rel="stylesheet" href="{ASSETS}/swagger-ui.css">
<link rel="icon" href="data:,">
</head>
<body>
<div id="swagger-ui"></div>
<script src="{ASSETS}/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
#: A file of its own, so that the page needs no inline script.
_START = """SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
});
"""

router = APIRouter(include_in_schema=False)


def mount_docs(app: FastAPI) -> None:
    app.include_router(router)
    app.mount(ASSETS, StaticFiles(directory=_swagger_ui()), name="docs_assets")


@router.get("/docs")
async def get_docs() -> HTMLResponse:
    return HTMLResponse(_PAGE, headers=HEADERS | {"Content-Security-Policy": _POLICY})


@router.get("/docs/start.js")
async def get_start() -> PlainTextResponse:
    return PlainTextResponse(_START, media_type="text/javascript", headers=HEADERS)


def _swagger_ui() -> Path:
    """The folder of its files, found without importing the package's own application."""
    spec = find_spec("fastapi_offline")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "static"
