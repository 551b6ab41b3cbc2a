"""The command line, as processes: exit codes, streams, and what is not imported."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from app.cli import app
from app.db.migrate import newest_revision
from app.db.session import Database
from app.embedded.lock import locked
from app.services.keys import Keys, Presented
from tests.e2e.running import environment_of


def pretune(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "app.cli", *arguments],
        env=environment_of(environment),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_version_is_the_packages_own() -> None:
    answer = pretune("version", "--json")
    assert answer.returncode == 0
    assert json.loads(answer.stdout)["version"].count(".") == 2


def test_help_loads_nothing_heavy() -> None:
    heavy = {"torch", "sqlalchemy", "fastapi", "celery", "httpx2"}
    script = f"import sys, app.cli; print(sorted({heavy} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout == "[]\n"


def test_an_unknown_option_is_a_usage_error() -> None:
    answer = pretune("up", "--colour", "blue")
    assert answer.returncode == 2
    assert "--colour" in answer.stderr


def test_down_tells_that_nothing_runs(tmp_path: Path) -> None:
    answer = pretune("down", "--data-dir", str(tmp_path))
    assert answer.returncode == 3
    assert f"No service runs on {tmp_path}" in answer.stderr


@pytest.mark.parametrize(
    ("content", "status", "told"),
    [
        ("{", 2, "job.yaml is neither JSON nor YAML"),
        ("kind: pretrain\nkind: finetune", 2, 'duplicate key "kind"'),
        ("[1]", 2, "must hold an object with the fields of a job, and holds list"),
        ("{}", 3, "No answer from http://127.0.0.1:9"),
    ],
)
def test_a_job_that_cannot_be_asked_for_is_one_line(content: str, status: int, told: str, tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(content)
    answer = pretune("submit", "-f", str(tmp_path / "job.yaml"), "--url", "http://127.0.0.1:9")
    assert answer.returncode == status
    assert told in answer.stderr
    assert answer.stderr.count("\n") == 1


@pytest.mark.parametrize("command", [("smoke", "--wait", "0"), ("demo",)])
def test_a_service_that_does_not_answer_is_one_line_and_no_traceback(command: tuple[str, ...], tmp_path: Path) -> None:
    answer = pretune(*command, "--url", "http://127.0.0.1:9", PRETUNE_DATA_DIR=str(tmp_path))
    assert answer.returncode == 3
    assert answer.stderr.startswith("pretune: No answer from http://127.0.0.1:9")
    assert "Traceback" not in answer.stderr


@pytest.mark.parametrize(
    ("environment", "status", "told"),
    [
        ({"PRETUNE_PORT": "eighty"}, 2, "PRETUNE_PORT"),
        ({"PRETUNE_DATA_DIR": "/dev/null"}, 3, "/dev/null cannot hold our data"),
        ({"PRETUNE_HOST": "nowhere.invalid"}, 3, "nowhere.invalid"),
        ({"PRETUNE_DATABASE_URL": "postgresql://someone:secret@127.0.0.1:9/pretune"}, 3, "The database cannot be used"),
        ({"PRETUNE_DATABASE_URL": "abacus://beads"}, 3, "PRETUNE_DATABASE_URL"),
    ],
)
def test_what_keeps_the_service_from_starting_is_told_in_a_line(
    environment: dict[str, str], status: int, told: str, tmp_path: Path
) -> None:
    answer = pretune("up", **{"PRETUNE_DATA_DIR": str(tmp_path), "PRETUNE_PORT": "0"} | environment)
    assert answer.returncode == status
    assert told in answer.stderr
    assert "Traceback" not in answer.stderr
    assert "secret" not in answer.stderr


def test_migrate_makes_the_schema_and_may_be_repeated(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new.db'}"
    for _ in range(2):
        answer = pretune("migrate", PRETUNE_DATABASE_URL=url)
        assert (answer.returncode, answer.stdout) == (0, "The database is up to date.\n")
    assert json.loads(pretune("migrate", "--json", PRETUNE_DATABASE_URL=url).stdout) == {"revision": newest_revision()}


def test_a_key_is_made_told_once_listed_and_revoked(tmp_path: Path) -> None:
    def keys(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return pretune("keys", *arguments, "--data-dir", str(tmp_path / "data"))

    made = keys("create", "--name", "ci")
    key = made.stdout.strip()
    assert made.returncode == 0, made.stderr
    assert key.startswith("pt_")
    options = ("--project", "team-a", "--expires-days", "3", "--scope", "read", "--scope", "predict")
    other = json.loads(keys("create", *options, "--json").stdout)
    assert other["key"].startswith(other["prefix"])
    assert other["scopes"] == ["read", "predict"]
    listed = keys("list").stdout.splitlines()
    assert [line.split()[0] for line in listed] == [made.stderr.split(",")[0], other["id"]]
    secret_from = len(other["prefix"])  # what follows may hold an underscore anywhere, its end included
    assert not any(secret[secret_from:] in "".join(listed) for secret in (key, other["key"]))
    assert [line.split()[3] for line in listed] == ["admin", "read,predict"]
    assert "expires" in listed[1]
    [of_project] = json.loads(keys("list", "--project", "team-a", "--json").stdout)
    assert of_project == {name: value for name, value in other.items() if name != "key"}
    assert keys("revoke", other["prefix"]).stdout == f"Revoked {other['id']} (key) of the project team-a.\n"
    assert "revoked" in keys("list").stdout.splitlines()[1]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("revoke", "key_x"), "There is no key 'key_x'"),
        (("create", "--project", "Team A"), "'Team A' cannot be a project"),
        (("create", "--expires-days", "0"), "0 days"),
    ],
)
def test_what_keys_refuses_is_one_line(tmp_path: Path, arguments: tuple[str, ...], told: str) -> None:
    answer = pretune("keys", *arguments, "--data-dir", str(tmp_path))
    assert answer.returncode == 1
    assert told in answer.stderr
    assert "Traceback" not in answer.stderr


def test_keys_are_those_of_the_database_that_is_named(database: Database, tmp_path: Path) -> None:
    url = database.engine.url.render_as_string(hide_password=False)
    command = [sys.executable, "-m", "app.cli", "keys", "create", "--data-dir", str(tmp_path / "unused")]
    environment = environment_of({"PRETUNE_DATABASE_URL": url})
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    presented = Presented.of(answer.stdout.strip())
    assert presented in Keys(database).authenticate([presented])
    assert not (tmp_path / "unused").exists()


@pytest.mark.slow
@pytest.mark.databases("sqlite")
def test_a_data_folder_is_backed_up_and_restored(tmp_path: Path) -> None:
    origin, backup, copy = (str(tmp_path / name) for name in ("origin", "backup", "copy"))
    nothing = pretune("backup", backup, "--data-dir", origin)
    assert (nothing.returncode, "it holds no pretune.db" in nothing.stderr) == (1, True)
    assert not Path(origin).exists()
    key = pretune("keys", "create", "--data-dir", origin).stdout.strip()
    assert pretune("backup", backup, "--data-dir", origin).returncode == 0
    done = pretune("restore", backup, "--data-dir", copy, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["damaged"] == []
    listed = json.loads(pretune("keys", "list", "--data-dir", copy, "--json").stdout)
    assert [key.startswith(each["prefix"]) for each in listed] == [True]
    again = pretune("restore", backup, "--data-dir", copy)
    assert (again.returncode, "not empty: it holds api_keys" in again.stderr) == (1, True)
    with locked(Path(copy)):
        assert pretune("restore", backup, "--data-dir", copy).returncode == 3


def test_doctor_names_what_is_wrong_and_the_remedy(tmp_path: Path) -> None:
    answer = pretune("doctor", "--url", "http://127.0.0.1:9", "--data-dir", str(tmp_path / "new"), "--json")
    findings = {finding["what"]: finding for finding in json.loads(answer.stdout)}
    assert answer.returncode == 1
    assert findings["torch"]["remedy"] == ""
    assert "No answer from" in findings["http://127.0.0.1:9"]["remedy"]
    assert not (tmp_path / "new").exists()


def test_a_bucket_is_made_once_in_a_store_of_ones_own(bucket: str) -> None:
    store = f"s3://new-{bucket}/prefix"
    for _ in range(2):
        made = pretune("make-bucket", PRETUNE_STORE=store)
        assert (made.returncode, made.stdout) == (0, f"{store} can be used.\n"), made.stderr
    assert json.loads(pretune("make-bucket", "--json", PRETUNE_STORE=store).stdout) == {"store": store}
    away = pretune("make-bucket", PRETUNE_STORE=store, AWS_ENDPOINT_URL="http://127.0.0.1:9")
    assert (away.returncode, "does not answer" in away.stderr) == (3, True)
    assert pretune("make-bucket").returncode == 2


def test_doctor_and_the_start_tell_why_the_object_store_cannot_be_used(tmp_path: Path, bucket: str) -> None:
    del bucket  # the environment leads to its server
    told = pretune("doctor", "--url", "http://127.0.0.1:9", "--json", PRETUNE_STORE="s3://no-such-bucket/a")
    findings = {finding["what"]: finding for finding in json.loads(told.stdout)}
    assert "has no bucket of the name" in findings["s3://no-such-bucket/a"]["remedy"]
    start = pretune("up", "--data-dir", str(tmp_path / "data"), "--port", "0", PRETUNE_STORE="s3://no-such-bucket/a")
    assert (start.returncode, "has no bucket of the name" in start.stderr) == (3, True)


def test_every_command_prints_json_where_that_is_wanted() -> None:
    options = {
        path: {name for each in command.params for name in each.opts} for path, command in leaves(get_command(app))
    }
    assert {"up", "submit", "models pin", "sweep csv", "keys create"} <= options.keys()
    assert [path for path, known in options.items() if "--json" not in known] == []


def leaves(command: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    for name, each in getattr(command, "commands", {}).items():
        yield from leaves(each, f"{path} {name}".strip())
    if not hasattr(command, "commands"):
        yield path, command
