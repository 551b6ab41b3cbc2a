"""`uvicorn tests.support.dying_api:app`: the api, which dies between the commit of a job and its wake-up."""

import os
import signal
from collections.abc import Collection

from app import main
from app.dispatch import Dispatcher


class DyingDispatcher(Dispatcher):
    def wake(self, queues: Collection[str]) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


main.Dispatcher = DyingDispatcher  # type: ignore[attr-defined]
app = main.create_app()
