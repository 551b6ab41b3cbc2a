"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

DataDir = Annotated[Path | None, typer.Option(help="Folder of all embedded state (PRETUNE_DATA_DIR, pretune-data).")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
#: So that who scripts need not know which commands print nothing else.
AlwaysJson = Annotated[bool, typer.Option("--json", help="Print JSON, as it always does.")]
Url = Annotated[
    str | None, typer.Option(envvar="PRETUNE_URL", help="Address of a running service (http://127.0.0.1:8080).")
]
Key = Annotated[str | None, typer.Option(envvar="PRETUNE_API_KEY", help="API key, where the service asks for one.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
JobId = Annotated[str, typer.Argument(help="The job's id.")]
ModelRef = Annotated[str, typer.Argument(metavar="MODEL", help="The model's id, or an alias.")]
