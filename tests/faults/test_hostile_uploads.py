"""Files and forms made to do harm, sent to a real api: refused, nothing written where it should not be, nothing run.

Each trick by itself, and what is told of it, stands in `tests/app/records/test_hostile_files.py` (data sets) and
`tests/imports/test_import.py` (models); clients that stall or drip in `tests/app/api/test_multipart.py`.
"""

import io
import json
import pickle
import socket
import stat
import struct
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import numpy as np
import pytest
import torch

from app.contract.errors import ErrorCode
from app.contract.messages import FailedLine, ReportLine
from app.settings import Settings
from tests.app.records.files import npz, picture, zipped
from tests.contract import autoencoder
from tests.contract.runs import final_checkpoint, run_here
from tests.support.api_server import ApiServer
from tests.support.costs import resident_bytes
from tests.support.waiting import wait_until
from worker.training_run import run_assignment

pytestmark = [pytest.mark.slow, pytest.mark.faults, pytest.mark.databases("sqlite")]

PNG = picture(np.zeros((2, 2), np.uint8))
#: The bombs would unpack to a gigabyte, the headers ask for terabytes.
GROWTH_BYTES = 96 << 20


class Canary:
    """Whoever unpickles it makes a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self._path,)


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Canary]:
    """25. It never sings."""
    path = tmp_path / "canary"
    yield Canary(path)
    assert not path.exists()


@pytest.fixture
def server(api_server: ApiServer) -> ApiServer:
    api_server.start()
    api_server.wait_until_ready()
    return api_server


def link() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        entry = zipfile.ZipInfo("a/link.png")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(entry, "/etc/passwd")
    return buffer.getvalue()


def npy(shape: str) -> bytes:
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def safetensors(**tensor: Any) -> bytes:
    header = json.dumps({"weight": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]} | tensor}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(16)


def model(weights: bytes, name: str = "model.safetensors") -> bytes:
    config = {"model_type": "llama", "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    return zipped({"config.json": json.dumps(config).encode(), "tokenizer.json": b"{}", name: weights})


def hostile_datasets(canary: Canary) -> dict[str, tuple[str, bytes]]:
    """File names and contents, by what they try."""
    return {
        "a way out": ("a.zip", zipped({"a/ok.png": PNG, "../../evil.png": PNG})),
        "an absolute name": ("a.zip", zipped({"/tmp/evil.png": PNG})),  # noqa: S108  it is refused
        "a link": ("a.zip", link()),
        "a NUL in a name": ("a.zip", zipped({"b/evilX.png": PNG}).replace(b"evilX.png", b"evil\0.png")),
        "a zip bomb": ("a.zip", zipped({"a/bomb.png": bytes(256 << 20)})),
        "a bomb of numbers": ("a.npz", zipped({"features.npy": bytes(256 << 20)})),
        "a header of terabytes": ("a.npz", zipped({"features.npy": npy("(1000000000000,)")})),
        "a pickle in an array": ("a.npz", npz(features=np.array([[canary]], dtype=object))),
        "a pickle under another name": ("a.npz", zipped({"features.npy": pickle.dumps(canary)})),
        "a bare pickle": ("a.pkl", pickle.dumps(canary)),
        "a pickle that calls itself a table": ("a.parquet", pickle.dumps(canary)),
        "a name that leads away": ("../../../evil.zip", zipped({"../evil": b""})),
        "a name without a file": ("..", b"x"),
    }


def hostile_models(canary: Canary) -> dict[str, bytes]:
    return {
        "a pickle": model(pickle.dumps(canary), "pytorch_model.bin"),
        "a pickle under the right name": model(pickle.dumps(canary)),
        "a header longer than the file": model(struct.pack("<Q", 1 << 62) + b"{}"),
        "a tensor of terabytes": model(safetensors(shape=[1 << 40], data_offsets=[0, 1 << 42])),
        "a tensor outside the file": model(safetensors(data_offsets=[1 << 40, (1 << 40) + 16])),
        "a negative shape": model(safetensors(shape=[-4])),
        "a way out": zipped({"config.json": b"{}", "../../evil": b"x"}),
        "a link": link(),
        "a bomb": model(bytes(256 << 20)),
    }


def test_hostile_files_are_refused_and_leave_nothing(
    server: ApiServer, canary: Canary, settings: Settings, tmp_path: Path
) -> None:
    """24, 25. Nothing is written but the log and the database; nothing is run; memory stays bounded."""
    with server.client() as http:
        refused(http, "/v1/datasets", "a.csv", b"")  # starts what judges files
        before, resident = files_under(tmp_path), resident_bytes(server.pid)
        for name, (filename, content) in hostile_datasets(canary).items():
            refused(http, "/v1/datasets", filename, content, name)
        for name, content in hostile_models(canary).items():
            refused(http, "/v1/models/import", "model.zip", content, name)
        assert [http.get(f"/v1/{path}").json()["data"] for path in ("datasets", "models")] == [[], []]
    assert files_under(tmp_path) == before
    assert resident_bytes(server.pid) - resident < GROWTH_BYTES
    assert not list(settings.artifacts_dir.rglob("*.*"))


def refused(http: httpx2.Client, path: str, filename: str, content: bytes, what: str = "") -> None:
    answer = http.post(path, files={"file": (filename, content)})
    assert 400 <= answer.status_code < 500, (what, answer.text)
    assert answer.json()["detail"], what


def files_under(folder: Path) -> set[Path]:
    """But for what a running database keeps beside itself."""
    return {path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(("-wal", "-shm"))}


#: More is told than comes, less, and less than nothing.
LIES = ((10_000, b"--b\r\nContent-Disposition: form-data; name="), (10, b"--b\r\n" + b"x" * 5_000), (-1, b"x"))


def test_a_content_length_that_lies_is_refused(server: ApiServer, settings: Settings) -> None:
    """24. Where the connection is not simply ended: nothing says that the other side still reads."""
    for told_bytes, sent in LIES:
        answer = exchanged(server, told_bytes, sent)
        assert not answer or answer.startswith(b"HTTP/1.1 4"), answer[:200]
    wait_until(lambda: not files_under(settings.scratch_dir), 30, "nothing is left in scratch")
    with server.client() as http:
        assert http.get("/v1/datasets").json()["data"] == []


def exchanged(server: ApiServer, told_bytes: int, sent: bytes) -> bytes:
    """What comes back until the server ends the connection, whose other side we end ourselves."""
    address = urlsplit(server.url)
    head = (
        f"POST /v1/datasets HTTP/1.1\r\nHost: {address.netloc}\r\nConnection: close\r\n"
        f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {told_bytes}\r\n\r\n"
    )
    with socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=30) as connection:
        connection.sendall(head.encode() + sent)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65_536), b""))


def test_a_checkpoint_that_is_a_pickle_is_not_run(canary: Canary, tmp_path: Path) -> None:
    """25. However it came to lie in the store: what a job resumes from is read as tensors alone."""
    assignment = autoencoder.of_vectors(tmp_path / "job")
    checkpoint = final_checkpoint(run_here(assignment))
    [state] = (checkpoint / "trainer").iterdir()
    torch.save({"state": canary}, state)
    lines: list[ReportLine] = []
    resumed = assignment.model_copy(update={"attempt": 2, "resume_from": checkpoint})
    assert run_assignment(resumed, lines.append, stop=threading.Event()) != 0
    assert isinstance(lines[-1], FailedLine)
    assert lines[-1].error.code is ErrorCode.TRAINING_CRASHED
