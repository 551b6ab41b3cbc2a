"""The few HTML pages of the API itself. They load nothing from elsewhere, and say so to the browser."""

import re
from html import escape

from starlette.responses import HTMLResponse

_STYLE = (
    "body{max-width:42rem;margin:4rem auto;padding:0 1rem;font:1rem/1.6 system-ui,sans-serif;color-scheme:light dark}"
)
HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
#: Nothing but what each page adds; nobody may frame it, and it sends nothing away.
POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def text_page(title: str, *paragraphs: str) -> HTMLResponse:
    """Plain paragraphs, in which `code` may be marked."""
    body = "".join(f"<p>{_marked(text)}</p>" for text in paragraphs)
    return HTMLResponse(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)} - Pretune</title><style>{_STYLE}</style><h1>{escape(title)}</h1>{body}</html>",
        headers=HEADERS | {"Content-Security-Policy": f"{POLICY}; style-src 'unsafe-inline'"},
    )


def _marked(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))
