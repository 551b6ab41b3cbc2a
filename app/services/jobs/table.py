"""Jobs as a table for people: any order, search, and how many there are of each status."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.contract.job import JobStatus
from app.db import job_table, jobs
from app.db.job_table import SortKey, TableFilters
from app.db.session import Database
from app.services.jobs.views import JobView, view_of

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
            queued = [row.id for row in rows if row.status == JobStatus.QUEUED]
            places = jobs.queue_positions(session, queued) if queued else {}
        views = [view_of(row, places.get(row.id)) for row in rows]
        return TablePage(views, counts.matching, counts.by_status, methods)
