"""The blocks of README.md and docs/*.md that a reader would run."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PATHS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
RUNNABLE = ("sh", "python")
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
#: By their first line: what no test can run as it stands, and why. The names in it are checked all the same.
NOT_RUN = {
    "make install": "it installs torch for minutes; the test suites begin with it",
    "source .venv/bin/activate    # so that the command is called `pretune`": "the tests have another environment",
    "docker compose up --build": "it needs Docker",
    'docker compose run --rm -v "$PWD/backups:/backups" api pretune backup /backups/monday': "it needs Docker",
    "OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 pretune up": "tests/e2e/test_traces.py does, with a collector",
    "PRETUNE_DATABASE_URL='postgresql://pretune:PASSWORD@db.example/pretune?sslmode=verify-full"
    "&sslrootcert=/etc/pretune/ca.pem'": "it names hosts that there are not; tests/app/test_tls.py has real ones",
    "PRETUNE_LABELS=fast,zone=eu celery -A worker.celery_app worker": "it starts one more trainer, which goes on",
    "PRETUNE_WEBHOOK_NETWORKS='[\"10.20.0.0/16\"]' pretune up": "it only starts a service once more",
}


class Block(NamedTuple):
    language: str
    code: str

    @property
    def first_line(self) -> str:
        return self.code.partition("\n")[0]


def blocks_of(path: Path) -> list[Block]:
    return [Block(*found) for found in _BLOCK.findall(path.read_text())]


def runnable_blocks(name: str) -> list[Block]:
    """Those of a document in docs/, or of the README, that tests run."""
    path = next(path for path in PATHS if path.name == name)
    return [block for block in blocks_of(path) if block.language in RUNNABLE and block.first_line not in NOT_RUN]
