"""`python -m app.openapi`: writes the API's schema beside the code, where its changes are seen in reviews."""

import json
from pathlib import Path

from app.main import create_app

SCHEMA_PATH = Path(__file__).resolve().parents[1] / "openapi.json"


def rendered() -> str:
    return json.dumps(create_app().openapi(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    SCHEMA_PATH.write_text(rendered(), encoding="utf-8")
