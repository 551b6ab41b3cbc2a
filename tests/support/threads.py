"""The same work in several threads at once."""

import threading
from collections.abc import Callable


def together(count: int, work: Callable[[], object]) -> None:
    """In as many threads, at once; what one raises is raised."""
    failures: list[BaseException] = []
    line = threading.Barrier(count)

    def one() -> None:
        line.wait()
        try:
            work()
        except BaseException as error:  # noqa: BLE001  raised below
            failures.append(error)

    threads = [threading.Thread(target=one) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
