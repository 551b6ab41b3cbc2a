"""Labels: a job that asks for some is claimed by a trainer that has them all, and by no other."""

from collections.abc import Collection

import pytest

from app.db import attempts, jobs
from app.db.attempts import Room
from app.db.session import Database
from tests.factories import language_model_spec, make_dataset, make_job

CPU = ("auto", "cpu")
ROOM = Room(store_bytes=0, scratch_bytes=0, shared=False)


def asking_for(database: Database, *labels: str, project_id: str = "default", device: str = "auto") -> str:
    dataset = make_dataset(database, project_id=project_id)
    spec = language_model_spec(dataset.id, resources={"labels": labels, "device": device})
    return make_job(database, spec=spec, project_id=project_id).id


def claim(database: Database, labels: Collection[str], devices: Collection[str] = CPU) -> str | None:
    with database.transaction() as session:
        told = attempts.any_claimable(session, devices, labels=labels)
        row = attempts.claim(session, owner="wrk_a", devices=devices, labels=labels, lease_seconds=30.0)
        assert told is (row is not None)
        return None if row is None else row.id


@pytest.mark.parametrize(
    ("asked", "offered", "fits"),
    [
        ([], [], True),
        ([], ["fast"], True),
        (["fast"], [], False),
        (["fast"], ["fast"], True),
        (["fast"], ["faster"], False),
        (["zone=eu", "fast"], ["fast"], False),
        (["zone=eu", "fast"], ["big", "fast", "zone=eu"], True),
        (["zone=eu"], ["zone=us"], False),
    ],
)
def test_a_trainer_has_all_labels_of_a_job_that_it_takes(
    database: Database, asked: list[str], offered: list[str], fits: bool
) -> None:
    job_id = asking_for(database, *asked)
    assert claim(database, offered) == (job_id if fits else None)


def test_want_of_room_is_told_only_to_jobs_that_the_trainer_would_take(database: Database) -> None:
    spec = language_model_spec(make_dataset(database).id, resources={"labels": ["fast"]})
    make_job(database, spec=spec, store_bytes=1)
    with database.reading() as session:
        assert not attempts.any_without_room(session, CPU, ROOM)
        assert attempts.any_without_room(session, CPU, ROOM, ("fast",))


def test_projects_take_turns_at_each_trainer_whatever_labels_and_devices_their_jobs_ask_for(
    database: Database,
) -> None:
    """Jobs that a trainer cannot take neither hold it up nor cost their project its turn."""
    gpu_a, *fast_a = (
        asking_for(database, *labels, project_id="a", device=device)
        for labels, device in (((), "cuda"), (("fast",), "auto"), (("fast",), "auto"), (("fast",), "auto"))
    )
    any_b = [asking_for(database, project_id="b") for _ in range(3)]
    gpu_c = asking_for(database, "fast", project_id="c", device="cuda")

    assert claim(database, ()) == any_b[0], "it takes nothing of a and c"
    assert [claim(database, ("fast",)) for _ in range(3)] == [fast_a[0], any_b[1], fast_a[1]]
    with_gpu = [claim(database, ("fast",), (*CPU, "cuda")) for _ in range(4)]
    assert with_gpu == [gpu_c, any_b[2], gpu_a, fast_a[2]]


def test_jobs_of_equal_labels_stand_in_a_line(database: Database) -> None:
    plain, first, second = asking_for(database), asking_for(database, "fast"), asking_for(database, "fast")
    on_gpu = asking_for(database, "fast", device="cuda")
    with database.reading() as session:
        places = jobs.queue_positions(session, [plain, first, second, on_gpu])
    assert places == {plain: 1, first: 1, second: 2, on_gpu: 1}


def test_a_job_of_a_version_without_labels_asks_for_none(database: Database) -> None:
    row = make_job(database, labels=None)
    with database.reading() as session:
        assert jobs.queue_positions(session, [row.id, asking_for(database)])[row.id] == 1
    assert claim(database, ()) == row.id
