"""Specs that ask for more than there is: refused by arithmetic, before anything is built or stored.

Which field is told, `tests/app/api/test_errors.py` tries; what is no strict JSON, `tests/app/api/test_json_limits.py`.
"""

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from app.db.session import Database
from tests.support.api_server import ApiServer, upload_vectors
from tests.support.costs import cpu_seconds, resident_bytes

pytestmark = [pytest.mark.slow, pytest.mark.faults, pytest.mark.databases("sqlite")]

JSON = {"Content-Type": "application/json"}
#: Of the api's processor time for one refusal, and of its memory for all of them. What they ask for is terabytes.
REFUSAL_SECONDS = 0.1
GROWTH_BYTES = 32 << 20
ROUNDS = 5

Spec = dict[str, Any]


def autoencoder(**fields: Any) -> Spec:
    return {"method": {"type": "autoencoder", **fields}}


def training(**fields: Any) -> Spec:
    return {"training": fields}


#: Valid in each field, and too large together.
TOO_LARGE: dict[str, Spec] = {
    "a trillion parameters": autoencoder(architecture={"type": "mlp", "hidden_widths": [65_536] * 256}),
    "a transformer of ten trillion": {
        "method": {
            "type": "causal_language_model",
            "architecture": {"type": "transformer", "num_layers": 1_024, "width": 65_536, "num_heads": 16},
        }
    },
    "a context of a million": {
        "method": {
            "type": "causal_language_model",
            "architecture": {"type": "transformer", "num_layers": 1_024, "width": 4_096, "context_length": 1_048_576},
        },
        **training(batch_size=1_048_576),
    },
}
#: Wrong by themselves.
INVALID: dict[str, Spec] = {
    "100,000 layers": autoencoder(architecture={"type": "mlp", "hidden_widths": [1] * 100_000}),
    "a layer of no width": autoencoder(architecture={"type": "mlp", "hidden_widths": [0]}),
    "a code of less than nothing": autoencoder(code_size=-1),
    "10^18 steps": training(duration={"steps": 10**18}),
    "no batch": training(batch_size=0),
    "a batch of 2^40": training(batch_size=2**40),
    "a rate of 10^300": training(optimizer={"learning_rate": 1e300}),
    "a time that has passed": {"resources": {"time_limit_seconds": -1}},
}
BODIES: dict[str, bytes] = {
    "NaN": b'{"training": {"optimizer": {"learning_rate": NaN}}}',
    "Infinity": b'{"priority": -Infinity}',
    "1e400": b'{"training": {"gradient_clip_norm": 1e400}}',
    "nested 100,000 deep": b"[" * 100_000,
    "objects 100,000 deep": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "an integer of 4,301 digits": b'{"priority": ' + b"1" * 4_301 + b"}",
    "nothing": b"",
    "no UTF-8": b'{"kind": "\xff"}',
}


@pytest.fixture
def ask(api_server: ApiServer) -> "Iterator[Ask]":
    api_server.start()
    api_server.wait_until_ready()
    with api_server.client() as http:
        yield Ask(api_server.pid, http)


class Ask:
    """Posts bodies to a real api, some rounds each, and judges what it took to answer."""

    def __init__(self, pid: int, http: httpx2.Client) -> None:
        self.pid, self._http = pid, http
        self._spec: Spec = {
            "kind": "pretrain",
            "dataset": upload_vectors(self._http),
            "method": {"type": "autoencoder"},
        }
        text = self._http.post("/v1/datasets", files={"file": ("a.txt", b"to be or not to be " * 100)})
        self._text: str = text.json()["id"]

    def of(self, changes: Spec) -> bytes:
        """The spec is good but for the changes."""
        reads_text = changes.get("method", {}).get("type") == "causal_language_model"
        dataset = {"dataset": self._text} if reads_text else {}
        return json.dumps(self._spec | dataset | changes).encode()

    def post(self, path: str, body: bytes) -> httpx2.Response:
        return self._http.post(path, content=body, headers=JSON)

    def refused(self, path: str, body: bytes) -> httpx2.Response:
        """The last of some equal answers."""
        before = cpu_seconds(self.pid)
        for _ in range(ROUNDS):
            answer = self.post(path, body)
            assert 400 <= answer.status_code < 500, answer.text
            assert answer.json()["detail"]
        assert cpu_seconds(self.pid) - before < ROUNDS * REFUSAL_SECONDS
        return answer

    def num_jobs(self) -> int:
        return len(self._http.get("/v1/jobs").json()["data"])


def test_spec_bombs_are_refused_at_little_cost(ask: Ask, database: Database) -> None:
    """23. By arithmetic: the memory of the api stays what it was, and no job is stored."""
    assert ask.post("/v1/jobs", ask.of({})).status_code == 202, "the spec is good but for what is changed"
    bombs: dict[str, bytes] = {name: ask.of(spec) for name, spec in (TOO_LARGE | INVALID).items()} | BODIES

    def all_refused() -> dict[str, tuple[int, str]]:
        answers = {
            f"{name} at {path}": ask.refused(path, body)
            for name, body in bombs.items()
            for path in ("/v1/jobs", "/v1/jobs/estimate")
        }
        return {name: (answer.status_code, answer.json()["code"]) for name, answer in answers.items()}

    told = all_refused()
    before = resident_bytes(ask.pid)
    assert all_refused() == told
    assert resident_bytes(ask.pid) - before < GROWTH_BYTES
    assert codes_of(told, TOO_LARGE) == {(422, "too_large")}
    assert codes_of(told, INVALID) == {(422, "validation_failed")}
    assert codes_of(told, BODIES) <= {(400, "malformed_json"), (422, "validation_failed")}
    assert ask.num_jobs() == 1


def codes_of(told: dict[str, tuple[int, str]], bombs: "dict[str, Any]") -> set[tuple[int, str]]:
    return {answer for name, answer in told.items() if name.rpartition(" at ")[0] in bombs}
