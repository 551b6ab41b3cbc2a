"""A backup holds what the service is, verified to the byte, and goes back into an empty place of either database."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, text

from app.backup import BackupError, restore, write_backup
from app.backup.format import DIGEST_NAME, FILES_NAME, MANIFEST_NAME, STORE_FOLDER
from app.backup.rows import lines_of, tables_of
from app.contract.job import JobStatus
from app.contract.layout import blob_key
from app.db import aliases, attempts, checkpoints, duties, events, metrics, references
from app.db.migrate import newest_revision, upgrade
from app.db.session import Database, now
from app.db.tables import AttemptRow, DatasetRow, JobRow
from app.services.evaluations import Evaluations
from app.services.keys import Keys, Presented
from app.settings import Settings
from app.storage import ArtifactStore, FolderStore, StoredFile
from app.storage.objects import ObjectStore
from tests.app.services.sweeps.conftest import make_bench
from tests.factories import make_artifact, make_checkpoint, make_dataset, make_evaluation, make_job, make_model, put
from tests.support.postgres import PostgresServer

S = JobStatus


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "artifacts")


@pytest.fixture
def restored_store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "restored" / "artifacts")


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'restored.db'}"
        return
    postgres: PostgresServer = request.getfixturevalue("postgres")
    with postgres.new_database() as url:
        yield url.replace("postgresql://", "postgresql+psycopg://", 1)


@pytest.fixture
def running(database: Database, store: FolderStore) -> JobRow:
    """In its first attempt, with a checkpoint of step 5; and beside it a bit of everything."""
    make_dataset(database, warnings=["ünlabeled"])
    parent = make_model(database, store)
    with database.transaction() as session:
        aliases.put(session, "default", "production", parent.id, now(session))
    make_job(database, project_id="other", status=S.FAILED, error={"code": "lost", "message": "x", "fault": "user"})
    job = make_job(database, name="running")
    with database.transaction() as session:
        attempts.claim(session, owner="wrk_a", devices=("auto",), lease_seconds=60.0)
        metrics.upsert(session, job.id, 5, {"train_loss": 0.1})
        events.append(session, job.id, "warning", {"message": "slow"}, now(session))
    make_checkpoint(database, store, job, 5)
    make_artifact(database, store, job)
    with database.reading() as session:
        for dataset in session.scalars(select(DatasetRow)):
            put(store, dataset.blob_key, dataset.id.encode())  # whose digest the factory has written
    return job


def rows(database: Database) -> dict[str, list[dict[str, Any]]]:
    with database.reading() as session:
        connection = session.connection()
        return {
            table.name: [json.loads(line) for line in lines_of(connection, table)] for table in tables_of(connection)
        }


def files(store: ArtifactStore) -> dict[str, bytes]:
    found = {}
    for file in store.list(""):
        with store.open(file.key) as content:
            found[file.key] = content.read()
    return found


def opened(url: str, check: Callable[[Database], None]) -> None:
    database = Database(url)
    try:
        check(database)
    finally:
        database.dispose()


def test_all_comes_back_into_either_database_and_a_running_job_into_the_queue(
    *,
    running: JobRow,
    database: Database,
    store: FolderStore,
    restored_store: FolderStore,
    empty_url: str,
    tmp_path: Path,
) -> None:
    key = Keys(database).create("other", "ci").text
    before = rows(database)
    left = blob_key("default", "0" * 64)
    put(store, left, b"garbage")
    written = write_backup(database, store, tmp_path / "backup")
    assert written.damaged == ()
    manifest = restore(tmp_path / "backup", empty_url, restored_store)
    expected = files(store)
    del expected[left]
    assert files(restored_store) == expected
    assert written.num_files == len(expected)

    def check(restored: Database) -> None:
        after = rows(restored)
        assert after.keys() == before.keys()
        changed = {name for name in before if after[name] != before[name]}
        assert changed == {"jobs", "attempts", "events"}, "those of the job that ran"
        with restored.reading() as session:
            row = session.get_one(JobRow, running.id)
            assert (row.status, row.attempt, row.lost_attempts, row.lease_owner) == (S.QUEUED, 1, 0, None)
            attempt = session.get_one(AttemptRow, (running.id, 1))
            assert (attempt.outcome, attempt.finished_at) == ("preempted", manifest.created_at)
            assert row.seconds_run == (manifest.created_at - attempt.started_at).total_seconds()
        assert Keys(restored).authenticate([Presented.of(key)])
        with restored.transaction() as session:
            claimed = attempts.claim(session, owner="wrk_b", devices=("auto",), lease_seconds=30.0)
            assert claimed is not None
            assert (claimed.id, claimed.attempt) == (running.id, 2)

    opened(empty_url, check)


@pytest.mark.databases("sqlite")
def test_a_sweep_goes_on_and_evaluations_are_compared_where_they_were_restored(
    *,
    database: Database,
    store: FolderStore,
    settings: Settings,
    restored_store: FolderStore,
    empty_url: str,
    tmp_path: Path,
) -> None:
    bench = make_bench(database, settings, store)
    sweep_id = bench.create(trials=3, max_parallel=2).id
    bench.look()
    bench.train(1)
    reviews = make_dataset(database, "labeled_text")
    models = [make_model(database, store, labels=("bad", "good")) for _ in range(2)]
    first, second = (make_evaluation(database, store, model, reviews) for model in models)
    sweep = bench.get(sweep_id)
    comparison = Evaluations(database, store).compare("default", first.id, second.id)
    write_backup(database, store, tmp_path / "backup")
    restore(tmp_path / "backup", empty_url, restored_store)

    def check(restored: Database) -> None:
        there = make_bench(restored, settings, restored_store)
        assert there.get(sweep_id) == sweep
        assert Evaluations(restored, restored_store).compare("default", first.id, second.id) == comparison
        finished, expected = there.run(sweep_id), bench.run(sweep_id)
        assert finished.trials_by_state == expected.trials_by_state == {"complete": 3}
        assert [trial.parameters for trial in finished.trials] == [trial.parameters for trial in expected.trials]
        assert finished.best == expected.best

    opened(empty_url, check)


@pytest.mark.databases("sqlite")
def test_a_service_moves_from_a_folder_into_a_bucket_and_back(
    running: JobRow, database: Database, store: FolderStore, bucket: str, tmp_path: Path
) -> None:
    in_bucket, again = ObjectStore(f"s3://{bucket}/prefix", 10.0), FolderStore(tmp_path / "again")
    write_backup(database, store, tmp_path / "first")
    moved = f"sqlite:///{tmp_path / 'moved.db'}"
    restore(tmp_path / "first", moved, in_bucket)
    assert files(in_bucket) == files(store)
    there = Database(moved)
    write_backup(there, in_bucket, tmp_path / "second")
    there.dispose()
    restore(tmp_path / "second", f"sqlite:///{tmp_path / 'back.db'}", again)
    assert files(again) == files(store)


@pytest.mark.databases("sqlite")
def test_a_backup_of_an_older_schema_is_brought_to_this_one(
    store: FolderStore, restored_store: FolderStore, tmp_path: Path, database: Database
) -> None:
    url = f"sqlite:///{tmp_path / 'old.db'}"
    upgrade(url, "0001")
    job = make_job(database, status=S.SUCCEEDED, name="old")

    def fill(old: Database) -> None:
        with old.transaction() as session, database.reading() as newer:
            connection = session.connection()
            tables = {table.name: table for table in tables_of(connection)}
            for name in ("datasets", "jobs"):
                row = newer.execute(select(tables[name])).mappings().one()
                session.execute(insert(tables[name]), dict(row))
        write_backup(old, store, tmp_path / "backup")

    opened(url, fill)
    restored_url = f"sqlite:///{tmp_path / 'restored.db'}"
    assert restore(tmp_path / "backup", restored_url, restored_store).revision == "0001"

    def check(restored: Database) -> None:
        with restored.reading() as session:
            assert session.scalar(text("SELECT version_num FROM alembic_version")) == newest_revision()
            row = session.get_one(JobRow, job.id)
            assert (row.name, row.created_at, row.seconds_run) == ("old", job.created_at, 0)

    opened(restored_url, check)


def test_what_is_deleted_while_files_are_copied_is_replaced_by_what_is_newer(
    running: JobRow, database: Database, store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Retention gives up the checkpoint of step 5, because there is one of step 6, just before it is copied."""
    fetch = FolderStore.fetch
    before: list[str] = []

    def retire_first(self: FolderStore, key: str, destination: Path) -> StoredFile:
        if not before:
            before.append(key)
            make_checkpoint(database, store, running, 6, seed=6)
            with database.transaction() as session:
                retired = checkpoints.get(session, running.id, 5)
                assert retired is not None
                checkpoints.delete(session, running.id, 5)
            store.delete_prefix(retired.artifact_prefix)
        return fetch(self, key, destination)

    monkeypatch.setattr(FolderStore, "fetch", retire_first)
    written = write_backup(database, store, tmp_path / "backup")
    assert written.damaged == ()
    copied = {path.relative_to(tmp_path / "backup" / STORE_FOLDER).as_posix() for path in stored(tmp_path / "backup")}
    assert copied == files(store).keys()
    assert any("step-000000006" in key for key in copied)


def stored(backup: Path) -> list[Path]:
    return [path for path in (backup / STORE_FOLDER).rglob("*") if path.is_file()]


def test_what_the_store_has_lost_is_told_and_left_out(
    running: JobRow, database: Database, store: FolderStore, restored_store: FolderStore, tmp_path: Path
) -> None:
    with database.reading() as session:
        lost, flipped = sorted(
            file.key for file in references.all_files(session) if "step-000000005/model" in file.key
        )[:2]
    store.delete_prefix(lost)
    put(store, flipped, b"another byte")
    written = write_backup(database, store, tmp_path / "backup")
    assert written.damaged == (lost, flipped)
    restore(tmp_path / "backup", f"sqlite:///{tmp_path / 'restored.db'}", restored_store)
    assert files(restored_store).keys() == files(store).keys() - {flipped}


def damaged_parts() -> dict[str, Callable[[Path], Path]]:
    return {
        "manifest": lambda backup: backup / MANIFEST_NAME,
        "digest": lambda backup: backup / DIGEST_NAME,
        "list of files": lambda backup: backup / FILES_NAME,
        "table": lambda backup: backup / "tables" / "jobs.jsonl",
        "stored file": lambda backup: min(stored(backup)),
    }


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize("part", damaged_parts())
@pytest.mark.parametrize("how", ["flipped", "cut", "gone"])
def test_a_damaged_backup_is_refused_by_name_and_nothing_is_written(
    *,
    running: JobRow,
    database: Database,
    store: FolderStore,
    restored_store: FolderStore,
    tmp_path: Path,
    part: str,
    how: str,
) -> None:
    assert running.id
    backup = tmp_path / "backup"
    write_backup(database, store, backup)
    path = damaged_parts()[part](backup)
    content = path.read_bytes()
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(content[:-2] if how == "cut" else bytes([content[0] ^ 1]) + content[1:])
    named = MANIFEST_NAME if part == "digest" and how != "gone" else path.name
    with pytest.raises(BackupError, match=named):
        restore(backup, f"sqlite:///{tmp_path / 'restored.db'}", restored_store)
    assert not (tmp_path / "restored.db").exists()
    assert files(restored_store) == {}


def test_nothing_is_restored_over_what_is_there(
    running: JobRow, database: Database, store: FolderStore, restored_store: FolderStore, tmp_path: Path
) -> None:
    assert running.id
    write_backup(database, store, tmp_path / "backup")
    url, before = database.engine.url.render_as_string(hide_password=False), rows(database)
    with pytest.raises(BackupError, match=r"not empty: it holds .*jobs"):
        restore(tmp_path / "backup", url, restored_store)
    assert rows(database) == before
    put(restored_store, "default/blobs/other", b"somebody's")
    with pytest.raises(BackupError, match="default/blobs/other"):
        restore(tmp_path / "backup", f"sqlite:///{tmp_path / 'restored.db'}", restored_store)


def test_a_restore_that_was_broken_off_can_be_repeated(
    *,
    running: JobRow,
    database: Database,
    store: FolderStore,
    restored_store: FolderStore,
    empty_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert running.id
    write_backup(database, store, tmp_path / "backup")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("app.backup.restoring.load", fail)
        with pytest.raises(OSError, match="No space left"):
            restore(tmp_path / "backup", empty_url, restored_store)
    restore(tmp_path / "backup", empty_url, restored_store)
    opened(empty_url, lambda restored: None if rows(restored)["jobs"] else pytest.fail("no job came back"))


@pytest.mark.databases("sqlite")
def test_a_backup_that_failed_leaves_nothing_that_looks_like_one(
    running: JobRow, database: Database, store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert running.id

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(FolderStore, "fetch", fail)
        with pytest.raises(OSError, match="No space left"):
            write_backup(database, store, tmp_path / "backups" / "today")
    assert list((tmp_path / "backups").iterdir()) == []
    write_backup(database, store, tmp_path / "backups" / "today")
    with pytest.raises(BackupError, match="is there already"):
        write_backup(database, store, tmp_path / "backups" / "today")


@pytest.mark.databases("sqlite")
def test_files_that_go_faster_than_they_are_copied_are_told_of(
    running: JobRow, database: Database, store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch, step = FolderStore.fetch, 5

    def retire(self: FolderStore, key: str, destination: Path) -> StoredFile:
        nonlocal step
        if running.id in key and f"step-{step:09d}" in key:
            make_checkpoint(database, store, running, step + 1)
            with database.transaction() as session:
                checkpoints.delete(session, running.id, step)
            store.delete_prefix(key.rsplit("/", maxsplit=1)[0])  # the manifest is the first
            step += 1
        return fetch(self, key, destination)

    monkeypatch.setattr(FolderStore, "fetch", retire)
    with pytest.raises(BackupError, match="5 times over"):
        write_backup(database, store, tmp_path / "backup")


def test_one_backup_runs_at_a_time_and_the_next_may_follow(
    running: JobRow, database: Database, store: FolderStore, tmp_path: Path
) -> None:
    assert running.id
    with database.transaction() as session:
        assert duties.acquire(session, duties.BACKUP, "another", at=now(session), seconds=60.0)
    with pytest.raises(BackupError, match="Another backup runs"):
        write_backup(database, store, tmp_path / "backup")
    with database.transaction() as session:
        duties.release(session, duties.BACKUP, "another")
    for name in ("first", "second"):
        write_backup(database, store, tmp_path / name)
