"""`pretune demo`: the demo client, and around it a service where none was named."""

from pathlib import Path
from typing import Any

from rich.console import Console

from app.client import Api
from app.client.demo import Demo
from app.embedded.background import ensure_running, stop
from app.embedded.sockets import free_port_near

PREFERRED_PORT = 8080
STOP_SECONDS = 90.0


def run_demo(*, url: str | None, key: str | None, data_dir: Path, stop_at_end: bool, quiet: bool) -> dict[str, Any]:
    """What the demo made and measured. The service goes on, unless it is ours and `stop_at_end` says otherwise."""
    console = Console(stderr=quiet)
    address = url or ensure_running(data_dir, free_port_near(PREFERRED_PORT))
    with Api(address, key) as api:
        console.print(f"Pretune answers at {address}", highlight=False)
        results = Demo(api, data_dir / "demo", console).run()
    if url is None:
        _part(console, data_dir, address, stop_at_end)
    return results | {"url": address}


def _part(console: Console, data_dir: Path, address: str, stop_at_end: bool) -> None:
    if stop_at_end:
        stop(data_dir, STOP_SECONDS)
        console.print("\nThe service has stopped; its data stay.")
    else:
        console.print(f"\nThe service goes on at {address}", highlight=False)
        console.print(f"Stop it: pretune down --data-dir {data_dir}", highlight=False, soft_wrap=True)
