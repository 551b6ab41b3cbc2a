"""`/docs` loads everything from this service: read off the page and the scripts, as a browser would."""

import re

import pytest
from starlette.testclient import TestClient

pytestmark = pytest.mark.databases("sqlite")  # the database is not the subject


def test_the_page_loads_only_what_this_service_has(client: TestClient) -> None:
    page = client.get("/docs")
    addresses = re.findall(r'(?:src|href)="([^"]*)"', page.text)
    assert len(addresses) == 4
    for address in addresses:
        if address != "data:,":
            assert address.startswith("/docs/")
            assert client.get(address).status_code == 200


def test_the_script_starts_the_schema_of_this_service(client: TestClient) -> None:
    started = client.get("/docs/start.js")
    assert started.headers["Content-Type"].startswith("text/javascript")
    [url] = re.findall(r'url: "([^"]*)"', started.text)
    assert client.get(url).json()["info"]["title"] == "Pretune"
    assert "SwaggerUIBundle" in client.get("/docs/assets/swagger-ui-bundle.js").text


def test_the_browser_is_told_to_load_nothing_from_elsewhere(client: TestClient) -> None:
    policy = dict(
        directive.strip().split(" ", 1)
        for directive in client.get("/docs").headers["Content-Security-Policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert policy["connect-src"] == "'self'"
    assert not any(source.startswith(("http", "*")) for sources in policy.values() for source in sources.split())
    assert "<script>" not in client.get("/docs").text
    assert client.get("/redoc").status_code == 404
