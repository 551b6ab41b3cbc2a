"""The client agrees with the API's schema, the blocking one with the other, and neither needs the service."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from app.openapi import SCHEMA_PATH
from pretune import views
from tests.support.sync_client import ROOT, write

VIEWS = {
    name: view
    for name, view in vars(views).items()
    if isinstance(view, type) and issubclass(view, views.View) and view is not views.View
}


@pytest.mark.parametrize("name", sorted(VIEWS))
def test_a_view_has_the_fields_that_the_schema_tells(name: str) -> None:
    schema = json.loads(SCHEMA_PATH.read_text())["components"]["schemas"][name]
    assert VIEWS[name].model_fields.keys() == schema["properties"].keys()


def test_the_blocking_client_is_made_of_the_other(tmp_path: Path) -> None:
    write(tmp_path)
    kept = {path.name: path.read_text() for path in (ROOT / "pretune" / "_sync").glob("*.py")}
    made = {path.name: path.read_text() for path in tmp_path.glob("*.py")}
    assert kept == made, "`make documents` writes it anew"


def test_to_import_it_loads_nothing_of_the_service() -> None:
    heavy = "{'torch', 'fastapi', 'sqlalchemy', 'celery', 'redis', 'numpy', 'app', 'worker'}"
    script = f"import sys, pretune; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
