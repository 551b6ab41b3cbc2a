"""Calls an application of this process as somebody at this machine, whom the loopback rules let in."""

from fastapi import FastAPI
from starlette.testclient import TestClient

LOOPBACK = "http://127.0.0.1:8080"


def local_client(app: FastAPI) -> TestClient:
    return TestClient(app, base_url=LOOPBACK, client=("127.0.0.1", 50_000))
