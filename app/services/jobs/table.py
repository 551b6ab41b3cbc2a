"""Jobs as a table for people: any order, search, and how many there are of each status."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.db import job_table
from app.db.job_table import SortKey, TableFilters
from app.db.session import Database
from app.services.jobs.standing import views_of
from app.services.jobs.views import JobView
from app.settings import Settings

__all__ = ["JobTable", "SortKey", "TableFilters", "TablePage"]


@dataclass(frozen=True, slots=True)
class TablePage:
    """`total` jobs pass all filters; `by_status` counts those that pass the others."""

    jobs: Sequence[JobView]
    total: int
    by_status: Mapping[str, int]
    methods: Sequence[str]


@dataclass(frozen=True, slots=True)
class JobTable:
    database: Database
    settings: Settings

    def page(
        self, project_id: str, filters: TableFilters, *, sort: SortKey, descending: bool, number: int, size: int
    ) -> TablePage:
        """Pages are numbered from 1."""
        with self.database.reading() as session:
            rows = job_table.page(
                session,
                project_id,
                filters,
                sort=sort,
                descending=descending,
                offset=(number - 1) * size,
                limit=size,
            )
            counts = job_table.count(session, project_id, filters)
            methods = job_table.methods(session, project_id)
            views = views_of(session, rows, self.settings.silence)
        return TablePage(views, counts.matching, counts.by_status, methods)
