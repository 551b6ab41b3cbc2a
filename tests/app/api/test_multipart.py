"""The form's stream: a client that stalls or leaves ends it, and nothing is left in scratch."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request

from app.api import multipart
from app.contract.errors import InvalidRequest, TooSlow
from app.services.uploads import IncomingFile

HEAD = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'


def _receive(folder: Path, *messages: dict[str, Any]) -> tuple[Any, dict[str, str]]:
    """Runs the messages of an ASGI server through the form; after them, nothing ever comes."""
    waiting = list(messages)

    async def receive() -> Any:
        return waiting.pop(0) if waiting else await asyncio.Event().wait()

    headers = [(b"content-type", b"multipart/form-data; boundary=b")]
    request = Request({"type": "http", "method": "POST", "headers": headers}, receive)

    async def run() -> tuple[Any, dict[str, str]]:
        with IncomingFile(folder, 1 << 20) as incoming:
            upload, fields = await multipart.receive_form(request, incoming, 1 << 20)
            return upload.path.read_bytes(), fields

    return asyncio.run(run())


def _body(data: bytes, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": data, "more_body": more}


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_a_form_is_the_same_however_it_is_cut(tmp_path: Path, size: int) -> None:
    content = b"line\r\n--b-almost\r\n--bx \xff\r\n"
    form = HEAD + content + b'\r\n--b\r\nContent-Disposition: form-data; name="name"\r\n\r\n\xc3\xa9\r\n--b--\r\n'
    cuts = [_body(form[start : start + size]) for start in range(0, len(form), size)]
    assert _receive(tmp_path, *cuts, _body(b"", more=False)) == (content, {"name": "é"})


def test_a_client_that_stalls_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multipart, "STALL_SECONDS", 0.05)
    with pytest.raises(TooSlow):
        _receive(tmp_path, _body(HEAD + b"some data"))
    assert list(tmp_path.iterdir()) == []


def test_a_client_that_drips_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never silent for long, and never done: a byte with each turn of the loop, until the time for so few is over."""
    monkeypatch.setattr(multipart, "STALL_SECONDS", 0.2)
    sent = 0

    async def drip() -> Any:
        nonlocal sent
        await asyncio.sleep(0.001)
        sent += 1
        return _body(HEAD if sent == 1 else b"x")

    async def run() -> None:
        headers = [(b"content-type", b"multipart/form-data; boundary=b")]
        request = Request({"type": "http", "method": "POST", "headers": headers}, drip)
        with IncomingFile(tmp_path, 1 << 20) as incoming:
            await multipart.receive_form(request, incoming, 1 << 20)

    monkeypatch.setattr(multipart, "SLOWEST_BYTES_PER_SECOND", 1 << 20)
    with pytest.raises(TooSlow):
        asyncio.run(run())
    assert sent > 2
    assert list(tmp_path.iterdir()) == []


def test_a_client_that_leaves_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="closed before its end"):
        _receive(tmp_path, _body(HEAD + b"some data"), {"type": "http.disconnect"})
    assert list(tmp_path.iterdir()) == []
