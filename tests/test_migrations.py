"""The schema that migrations make is the schema that the rows need, on both databases."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import MetaData, Table, UniqueConstraint, inspect, text

from app.db.migrate import UnknownSchema, newest_revision, revisions, upgrade
from app.db.session import Database
from app.db.tables import DEFAULT_PROJECT_ID, ProjectRow, Row
from tests.support.postgres import PostgresServer

#: The outbox was made anew in 0007, when nobody had written to it.
PROMISED_FROM = "0007"


def test_migrations_leave_no_difference_to_the_rows(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, Row.metadata) == []
        assert context.get_current_revision() == newest_revision()


def test_the_project_of_those_without_keys_is_there(database: Database) -> None:
    with database.reading() as session:
        project = session.get_one(ProjectRow, DEFAULT_PROJECT_ID)
        assert project.created_at.tzinfo is not None


def test_upgrading_again_changes_nothing(database: Database) -> None:
    upgrade(database.engine.url.render_as_string(hide_password=False))
    with database.reading() as session:
        assert session.query(ProjectRow).count() == 1


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    postgres: PostgresServer = request.getfixturevalue("postgres")
    with postgres.new_database() as url:
        yield url.replace("postgresql://", "postgresql+psycopg://", 1)


def test_of_several_processes_that_migrate_at_once_one_does(empty_url: str) -> None:
    code = f"from app.db.migrate import upgrade; upgrade({empty_url!r})"
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(4)]
    assert [process.wait(60) for process in processes] == [0] * 4
    database = Database(empty_url)
    with database.engine.connect() as connection:
        assert set(inspect(connection).get_table_names()) >= set(Row.metadata.tables)
    database.dispose()


def test_a_schema_of_a_newer_version_is_refused_and_left_alone(database: Database) -> None:
    with database.transaction() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(UnknownSchema, match="9999"):
        upgrade(database.engine.url.render_as_string(hide_password=False))
    with database.reading() as session:
        assert session.scalar(text("SELECT version_num FROM alembic_version")) == "9999"


def test_each_revision_leaves_what_the_version_before_reads_and_writes(empty_url: str) -> None:
    """So that processes of the version before go on while, and after, the database is migrated."""
    database, before = Database(empty_url), MetaData()
    for revision in reversed([*revisions().walk_revisions(base=PROMISED_FROM)]):
        upgrade(empty_url, revision.revision)
        after = MetaData()
        with database.engine.connect() as connection:
            after.reflect(connection)
        assert list(_broken_promises(before, after)) == [], revision.revision
        before = after
    database.dispose()


def _broken_promises(before: MetaData, after: MetaData) -> Iterator[str]:
    for name in before.tables.keys() - {"alembic_version"}:
        if name in after.tables:
            yield from _broken_in(before.tables[name], after.tables[name])
        else:
            yield f"the table {name} is gone"


def _broken_in(old: Table, new: Table) -> Iterator[str]:
    for column in old.columns:
        kept = new.columns.get(column.name)
        if kept is None:
            yield f"{column} is gone"
        elif str(kept.type) != str(column.type) or (column.nullable and not kept.nullable):
            yield f"{column} is of another type, or must not be null any more"
    for column in new.columns:
        if column.name not in old.columns and not column.nullable and column.server_default is None:
            yield f"{column} must be given, and nobody gave it before"
    fresh = {column.name for column in new.columns if column.name not in old.columns}  # null where nobody gives them
    if unique := {names for names in _unique(new) - _unique(old) if not {*names} & fresh}:
        yield f"{new.name} must be unique in {unique}, and need not before"


def _unique(table: Table) -> set[tuple[str, ...]]:
    indexes = {tuple(sorted(index.columns.keys())) for index in table.indexes if index.unique}
    constraints = (each for each in table.constraints if isinstance(each, UniqueConstraint))
    return indexes | {tuple(sorted(each.columns.keys())) for each in constraints}
