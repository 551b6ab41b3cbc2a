"""The rules of jobs: what may be asked for, and what may become of it."""

from app.services.jobs.service import Jobs
from app.services.jobs.views import JobPage, JobView

__all__ = ["JobPage", "JobView", "Jobs"]
