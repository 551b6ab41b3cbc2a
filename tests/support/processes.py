"""Whether a process lives."""

from pathlib import Path


def exists(pid: int) -> bool:
    """A zombie does not: it has ended, and waits for its parent to ask how."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
