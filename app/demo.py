"""`pretune demo`: the demo client, and around it a service where none was named."""

import shlex
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from app.client.demo import Demo
from app.embedded.background import ensure_running, stop
from app.embedded.sockets import free_port_near
from pretune import Client

PREFERRED_PORT = 8080
STOP_SECONDS = 90.0


def run_demo(*, url: str | None, key: str | None, data_dir: Path, stop_at_end: bool, quiet: bool) -> dict[str, Any]:
    """What the demo made and measured. The service goes on, unless it is ours and `stop_at_end` says otherwise."""
    console = Console(stderr=quiet)
    address = url or ensure_running(data_dir, free_port_near(PREFERRED_PORT))
    console.print(f"Pretune answers at {address}", highlight=False)
    try:
        with Client(address, key) as client:
            results = Demo(client, data_dir / "demo", console).run()
    except KeyboardInterrupt:
        console.print("\nThe demo ends here. Jobs that were posted go on.")
        if url is None:
            _tell_how_to_stop(console, data_dir, address)
        raise
    if url is None and stop_at_end:
        stop(data_dir, STOP_SECONDS)
        console.print("\nThe service has stopped; its data stay.")
    elif url is None:
        console.print()
        _tell_how_to_stop(console, data_dir, address)
    return results | {"url": address}


def _tell_how_to_stop(console: Console, data_dir: Path, address: str) -> None:
    command = shlex.join([str(Path(sys.executable).with_name("pretune")), "down", "--data-dir", str(data_dir)])
    console.print(f"The service goes on at {address}\nStop it: {command}", highlight=False, soft_wrap=True)
