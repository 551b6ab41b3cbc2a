"""Reads tokenizer.json of an uploaded model, and tells its special tokens their roles, in a process of its own.

The library that reads it is not ours, and the file is a user's: whatever it does there harms nothing else.
"""

import subprocess
import sys
import threading

from app.tokenizer_check.messages import TokenizerRequest, TokenizerVerdict

COMMAND = (sys.executable, "-m", "app.tokenizer_check.process")
TIMEOUT_SECONDS = 120.0
TURN_SECONDS = 10.0
_turns = threading.BoundedSemaphore(2)


class TokenizerCheckBusy(Exception):
    """No turn came within TURN_SECONDS."""


class UnfitTokenizer(Exception):
    """The message tells why."""


def checked_tokenizer(request: TokenizerRequest) -> str:
    """The file with its special tokens in their roles. Raises UnfitTokenizer, and TokenizerCheckBusy: few are read at a
    time, since each may take much memory."""
    if not _turns.acquire(timeout=TURN_SECONDS):
        raise TokenizerCheckBusy
    try:
        done = subprocess.run(
            COMMAND, input=request.model_dump_json().encode(), capture_output=True, timeout=TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise UnfitTokenizer(f"Reading it took longer than {TIMEOUT_SECONDS:g} seconds.") from None
    finally:
        _turns.release()
    if done.returncode:
        raise UnfitTokenizer(f"Reading it ended the process that did (exit code {done.returncode}).")
    verdict = TokenizerVerdict.model_validate_json(done.stdout)
    if verdict.content is None:
        raise UnfitTokenizer(str(verdict.problem))
    return verdict.content
