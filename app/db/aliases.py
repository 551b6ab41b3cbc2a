"""The SQL of aliases: names within a project that point at one model each, and may be moved."""

from collections import defaultdict
from collections.abc import Collection
from datetime import datetime

from sqlalchemy import delete as delete_from
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db.tables import AliasRow
from app.db.upsert import upsert


def put(session: Session, project_id: str, alias: str, model_id: str, at: datetime) -> None:
    """Point the alias at the model, wherever it pointed before."""
    upsert(session, AliasRow, [{"project_id": project_id, "alias": alias, "model_id": model_id, "updated_at": at}])


def delete(session: Session, project_id: str, alias: str, model_id: str) -> bool:
    """False where the alias does not point at that model."""
    found = session.execute(
        delete_from(AliasRow)
        .where(AliasRow.project_id == project_id, AliasRow.alias == alias, AliasRow.model_id == model_id)
        .returning(AliasRow.alias)
    )
    return found.first() is not None


def target(session: Session, project_id: str, alias: str) -> str | None:
    """The id of the model that the alias points at."""
    return session.scalar(select(AliasRow.model_id).where(AliasRow.project_id == project_id, AliasRow.alias == alias))


def of_models(session: Session, model_ids: Collection[str]) -> dict[str, list[str]]:
    """The aliases of each model that has some, in order."""
    query = select(AliasRow.model_id, AliasRow.alias).where(AliasRow.model_id.in_(model_ids)).order_by(AliasRow.alias)
    found: dict[str, list[str]] = defaultdict(list)
    for model_id, alias in session.execute(query):
        found[model_id].append(alias)
    return dict(found)
