"""Who calls."""

from dataclasses import dataclass

from app.db.tables import DEFAULT_PROJECT_ID


@dataclass(frozen=True, slots=True)
class Caller:
    """`key_id` is null where no key was asked for."""

    project_id: str
    key_id: str | None = None


async def get_caller() -> Caller:
    return Caller(DEFAULT_PROJECT_ID)
