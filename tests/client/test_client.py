"""The client against a scripted service on a real socket: what it repeats, what it takes up again, what it tells."""

import asyncio
from pathlib import Path

import pytest

from pretune import (
    AsyncClient,
    Client,
    InvalidRequest,
    JobDidNotSucceed,
    NoAnswer,
    NotFound,
    PretuneError,
    TooManyRequests,
    protocol,
)
from pretune.errors import ApiError, FieldProblem
from pretune.views import EventView
from tests.client.answers import dataset, job
from tests.client.scripted import Answer, Request, events, in_turn, problem, scripted


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between tries, for there is nothing to wait for."""
    monkeypatch.setattr(protocol, "FIRST_RETRY_SECONDS", 0.0)
    monkeypatch.setattr(protocol, "RECONNECT_SECONDS", 0.0)


def streamed_in_two_parts(request: Request) -> Answer:
    """A job whose stream ends after event 2, while it still runs."""
    if request.path.endswith("/events"):
        return events(3) if request.headers.get("Last-Event-ID") == "2" else events(1, 2)
    return Answer(job(status="running"))


def test_a_stream_that_breaks_goes_on_after_the_last_event() -> None:
    told: list[EventView] = []
    with scripted(streamed_in_two_parts) as script, Client(script.url) as client:
        watched = client.jobs.get("job_1")

        def finish(request: Request) -> Answer:
            streams = sum(request.path.endswith("/events") for request in script.requests)
            if request.path.endswith("/events") or streams < 2:
                return streamed_in_two_parts(request)
            return Answer(job(model_id="model_1"))

        script.answer = finish
        finished = watched.wait(on_event=told.append)
    assert [event.id for event in told] == [1, 2, 3]
    assert (finished.status, finished.model_id) == ("succeeded", "model_1")


def test_a_job_that_fails_is_told_with_its_reason() -> None:
    error = {"code": "bad_data", "message": "no labels", "fault": "user"}

    def answer(request: Request) -> Answer:
        return events(1) if request.path.endswith("/events") else Answer(job(status="failed", error=error))

    with (
        scripted(answer) as script,
        Client(script.url) as client,
        pytest.raises(JobDidNotSucceed, match=r"a job failed \(bad_data\): no labels") as told,
    ):
        client.jobs.get("job_1").wait()
    assert told.value.code == "bad_data"


def test_a_wait_that_takes_too_long_leaves_the_job_alone() -> None:
    with scripted(streamed_in_two_parts) as script, Client(script.url) as client:
        watched = client.jobs.get("job_1")
        with pytest.raises(TimeoutError, match="job_1 has not ended after 0 seconds"):
            watched.wait(timeout_seconds=0)
        assert {request.method for request in script.requests} == {"GET"}


def test_an_error_carries_its_code_and_names_the_place() -> None:
    wrong = {
        "code": "validation_failed",
        "detail": "The body is not valid.",
        "errors": [{"location": "training.batch_size", "message": "must be positive"}],
    }
    with (
        scripted(in_turn(Answer(wrong, 422))) as script,
        Client(script.url) as client,
        pytest.raises(InvalidRequest, match=r"training\.batch_size: must be positive") as told,
    ):
        client.jobs.create({})
    assert (told.value.status, told.value.code) == (422, "validation_failed")
    assert told.value.errors[0].location == "training.batch_size"


def test_an_answer_that_is_no_problem_of_ours_is_shown() -> None:
    with (
        scripted(lambda _: Answer(b"<h1>Gateway</h1>", 418)) as script,
        Client(script.url) as client,
        pytest.raises(PretuneError, match="The service answered 418: <h1>Gateway"),
    ):
        client.version()


def test_a_service_that_is_not_there_is_told_with_its_address() -> None:
    with Client("http://127.0.0.1:9") as client, pytest.raises(NoAnswer, match="No answer from http://127"):
        client.version()


def test_an_address_without_a_scheme_is_told_at_once() -> None:
    with pytest.raises(PretuneError, match="begins with http://"):
        Client("localhost:8080")


def test_address_and_key_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted(lambda _: Answer({"version": "1"})) as script:
        monkeypatch.setenv("PRETUNE_URL", script.url + "/")
        monkeypatch.setenv("PRETUNE_API_KEY", "a-key")
        with Client() as client:
            assert client.version().version == "1"
            assert client.has_key
    assert script.requests[0].headers["Authorization"] == "Bearer a-key"


@pytest.mark.parametrize(
    "first",
    [problem(503), problem(429), problem(502), problem(409, "idempotency_key_in_flight"), Answer({}, breaks=True)],
)
def test_a_creation_is_sent_again_under_the_same_key(first: Answer) -> None:
    with scripted(in_turn(first, Answer(job(), 202))) as script, Client(script.url) as client:
        assert client.jobs.create({"kind": "pretrain"}).id == "job_1"
    keys = [request.headers["Idempotency-Key"] for request in script.requests]
    assert len(keys) == 2
    assert keys[0] == keys[1]
    assert script.requests[0].body == script.requests[1].body


def test_two_creations_have_two_keys() -> None:
    with scripted(lambda _: Answer(job(), 202)) as script, Client(script.url) as client:
        for _ in range(2):
            client.jobs.create({"kind": "pretrain"})
    assert len({request.headers["Idempotency-Key"] for request in script.requests}) == 2


@pytest.mark.parametrize("lost", [problem(502), Answer({}, breaks=True)])
def test_a_change_whose_answer_was_lost_is_not_made_twice(lost: Answer) -> None:
    with scripted(in_turn(Answer(job(status="running")), lost, Answer(job()))) as script, Client(script.url) as client:
        running = client.jobs.get("job_1")
        with pytest.raises(PretuneError):
            running.pause()
    assert [request.method for request in script.requests] == ["GET", "POST"]


def test_what_was_turned_away_is_tried_until_the_tries_are_used_up() -> None:
    with (
        scripted(lambda _: problem(429)) as script,
        Client(script.url, max_retries=2) as client,
        pytest.raises(TooManyRequests),
    ):
        client.version()
    assert len(script.requests) == 3


def test_as_long_as_the_service_asks_is_waited(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr("time.sleep", waited.append)
    first = problem(503, headers={"Retry-After": "7"})
    with scripted(in_turn(first, Answer({"version": "1"}))) as script, Client(script.url) as client:
        client.version()
    assert waited == [7.0]


def test_what_a_lost_try_has_deleted_is_deleted() -> None:
    with scripted(in_turn(Answer(job()), problem(502), problem(404))) as script, Client(script.url) as client:
        client.jobs.get("job_1").delete()


def test_what_was_never_there_cannot_be_deleted() -> None:
    with scripted(in_turn(Answer(job()), problem(404))) as script, Client(script.url) as client:
        gone = client.jobs.get("job_1")
        with pytest.raises(NotFound):
            gone.delete()


def test_lists_go_on_over_their_pages() -> None:
    first = Answer({"data": [job(id="job_1"), job(id="job_2")], "next_cursor": "c"})
    with (
        scripted(in_turn(first, Answer({"data": [job(id="job_3")], "next_cursor": None}))) as script,
        Client(script.url) as client,
    ):
        listed = client.jobs.list(status=["queued", "running"], page_size=2)
        assert [each.id for each in listed] == ["job_1", "job_2", "job_3"]
    assert [request.path for request in script.requests] == [
        "/v1/jobs?limit=2&status=queued&status=running",
        "/v1/jobs?cursor=c&limit=2&status=queued&status=running",
    ]


def test_events_behind_one_are_listed_over_their_pages() -> None:
    page = {"id": 8, "type": "log", "created_at": "2026-01-01T00:00:00Z", "data": {}}
    answers = in_turn(Answer(job()), Answer({"data": [page], "next_cursor": None}))
    with scripted(answers) as script, Client(script.url) as client:
        assert [event.id for event in client.jobs.get("job_1").events(after=7)] == [8]
    assert script.requests[1].path == "/v1/jobs/job_1/events?cursor=7&limit=200"


def test_an_upload_is_read_from_its_start_at_each_try_and_tells_how_far_it_is(tmp_path: Path) -> None:
    file = tmp_path / "data.txt"
    file.write_bytes(b"x" * 200_000)
    told: list[tuple[int, int]] = []
    with scripted(in_turn(problem(503), Answer(dataset(), 201))) as script, Client(script.url) as client:
        client.datasets.upload(file, columns={"text": "review"}, on_progress=lambda *at: told.append(at))
    first, second = (request.body for request in script.requests)
    assert first.count(b"x" * 200_000) == second.count(b"x" * 200_000) == 1
    assert b'{"text": "review"}' in second
    assert told[-1] == (200_000, 200_000)


def test_a_download_that_breaks_leaves_no_file(tmp_path: Path) -> None:
    answers = in_turn(Answer(job()), Answer(b"half", breaks=True), Answer(b"whole"))
    with scripted(answers) as script, Client(script.url) as client:
        finished = client.jobs.get("job_1")
        with pytest.raises(NoAnswer):
            finished.download("samples.png", tmp_path / "samples.png")
        assert not [*tmp_path.iterdir()]
        assert finished.download("samples.png", tmp_path / "samples.png").read_bytes() == b"whole"


def test_a_generation_that_breaks_off_is_no_end() -> None:
    sent = b'data: {"text":"Once"}\n\nevent: error\ndata: {"error":{"code":"unavailable","message":"Gone."}}\n\n'
    pieces: list[str] = []
    with (
        scripted(in_turn(Answer(sent))) as script,
        Client(script.url) as client,
        pytest.raises(PretuneError, match="Gone"),
    ):
        pieces.extend(client.models.stream("a model", "Say"))
    assert pieces == ["Once"]
    assert script.requests[0].path == "/v1/models/a%20model/generate"


def test_the_asynchronous_client_does_the_same() -> None:
    async def told(url: str) -> list[int]:
        async with AsyncClient(url) as client:
            watched = await client.jobs.get("job_1")
            return [event.id async for event in watched.events(follow=True)]

    broken = [Answer(job(status="running")), events(1, 2), Answer(job(status="running")), events(3), Answer(job())]
    with scripted(in_turn(*broken)) as script:
        assert asyncio.run(told(script.url)) == [1, 2, 3]
    assert script.requests[3].headers["Last-Event-ID"] == "2"


def test_an_error_reads_each_thing_once() -> None:
    short, gone = FieldProblem("inputs.0", "Too short."), FieldProblem("model", "There is no model.")
    assert str(ApiError(422, "invalid_input", "There is no model.", [gone])) == "There is no model."
    assert str(ApiError(422, "invalid_input", "inputs.0: Too short.", [short])) == "inputs.0: Too short."
    told = str(ApiError(422, "invalid_input", "There is no model.", [gone, short]))
    assert told == "There is no model. inputs.0: Too short."
