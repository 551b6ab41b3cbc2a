"""The memory that caches of running generations may take together, whatever their models. Knows no model."""

from worker.serving.device import Turns, Work


class CacheMemory:
    """Shared by all models of a replica, since its memory is one. Whoever finds no room waits in line and is given a
    turn when some is freed; meanwhile nobody behind it takes more, so that a busy model starves no other.

    Used on the device's thread alone.
    """

    def __init__(self, turns: Turns, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self._turns = turns
        self._held: dict[Work, int] = {}
        self._waiting: dict[Work, None] = {}  # an ordered set: first in, first out

    def hold(self, owner: Work, size_bytes: int) -> bool:
        """Let the owner hold so much in all. False where that is more than before and there is no room: then it waits,
        and does so until it is let in or waits no more."""
        before = self._held.get(owner, 0)
        if size_bytes > before:
            if not self._has_room(owner, size_bytes - before):
                self._waiting.setdefault(owner)
                return False
            self.wait_no_more(owner)
        if size_bytes:
            self._held[owner] = size_bytes
        else:
            self._held.pop(owner, None)  # its model may leave memory
        if size_bytes < before:
            self._wake_next()
        return True

    def wait_no_more(self, owner: Work) -> None:
        if owner in self._waiting:
            del self._waiting[owner]
            self._wake_next()

    def _has_room(self, owner: Work, more_bytes: int) -> bool:
        is_next = next(iter(self._waiting), owner) is owner
        return is_next and sum(self._held.values()) + more_bytes <= self.limit_bytes

    def _wake_next(self) -> None:
        if self._waiting:
            self._turns.wake(next(iter(self._waiting)))
