"""Identifiers: a prefix that tells the resource, and a time-ordered unique part (UUIDv7, hex)."""

from typing import Literal

import uuid_utils

Prefix = Literal["ds", "job", "model", "swp", "key", "wrk", "wh", "msg", "eval"]


def new_id(prefix: Prefix) -> str:
    return f"{prefix}_{uuid_utils.uuid7().hex}"
