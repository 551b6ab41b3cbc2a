"""The rules of jobs: what may be asked for, and what may become of it."""

from app.db.jobs import JobFilters
from app.services.jobs.service import Jobs
from app.services.jobs.views import JobPage, JobView

__all__ = ["JobFilters", "JobPage", "JobView", "Jobs"]
