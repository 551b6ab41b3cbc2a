"""All pages together, as `app.main` hangs them in."""

from fastapi import FastAPI

from app.web import datasets, evaluations, jobs, models, new_job, project, session, sweeps, workers
from app.web.rendering import STATIC, STATIC_URL, Assets

ROUTERS = (
    session.router,
    session.pages,
    new_job.router,  # before `/jobs/{job_id}`
    jobs.router,
    sweeps.router,
    datasets.router,
    models.router,
    evaluations.router,
    workers.router,
    project.router,
)


def mount_dashboard(app: FastAPI) -> None:
    for router in ROUTERS:
        app.include_router(router)
    app.mount(STATIC_URL, Assets(directory=STATIC), name="dashboard_assets")
