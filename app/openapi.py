"""`python -m app.openapi`: writes what is made of the API's own description, where its changes are seen in reviews."""

import json
from pathlib import Path

from app import api_reference, error_catalogue
from app.main import create_app

ROOT = Path(__file__).resolve().parents[1]
SCHEMA_PATH = ROOT / "openapi.json"


def documents() -> dict[Path, str]:
    """The schema; the reference and the catalogue of errors, for people."""
    schema = create_app().openapi()
    return {
        SCHEMA_PATH: json.dumps(schema, indent=2, ensure_ascii=False) + "\n",
        ROOT / "docs" / "api.md": api_reference.rendered(schema),
        ROOT / "docs" / "errors.md": error_catalogue.rendered(),
    }


if __name__ == "__main__":
    for path, content in documents().items():
        path.write_text(content, encoding="utf-8")
