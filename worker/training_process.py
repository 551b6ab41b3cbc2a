"""`python -m worker.training_process --report-fd N`: runs one attempt of one job, and ends.

It imports all it needs before it is given anything, so that a job waits for no import; until then it runs no tensor
operation. Local paths in, a pipe out: it knows no database, broker or store.
"""

import os
import signal
import sys
import threading
from argparse import ArgumentParser

from app.contract.messages import EXIT_STOPPED, ReadyLine, assignment_adapter
from app.processes import die_with_parent
from worker.reporter import Reporter


class StopSignal:
    """Obeys SIGTERM from a thread of its own, since the main thread may be in a long C call.

    While training, it only sets `requested`, and the loop writes a checkpoint at its next step. Before, there is
    nothing to keep, and the process ends at once with `exit_code`.
    """

    def __init__(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # inherited by every thread that torch will start
        self.requested = threading.Event()
        self.exit_code = 0
        self._training = False
        threading.Thread(target=self._wait, name="stop-signal", daemon=True).start()

    def on_training(self) -> None:
        self._training = True

    def _wait(self) -> None:
        signal.sigwait({signal.SIGTERM})
        self.requested.set()
        if not self._training:
            os._exit(self.exit_code)


def main() -> int:
    die_with_parent()
    stop = StopSignal()
    parser = ArgumentParser()
    parser.add_argument("--report-fd", type=int, required=True)
    reporter = Reporter(parser.parse_args().report_fd)

    from worker.training_run import run_assignment  # noqa: PLC0415  not before the signal is blocked

    reporter.send(ReadyLine())
    line = sys.stdin.buffer.readline()
    if not line:
        return 0
    stop.exit_code = EXIT_STOPPED
    assignment = assignment_adapter.validate_json(line)
    return run_assignment(assignment, reporter.send, stop=stop.requested, on_training=stop.on_training)


if __name__ == "__main__":
    sys.exit(main())
