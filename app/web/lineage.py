"""Where a job or a model comes from, step by step: the data, the pretraining, the fine-tunes, the model."""

from dataclasses import dataclass, replace

from app.contract.errors import NotFound
from app.services.datasets import Datasets
from app.services.jobs import Jobs, JobView
from app.services.models import Models
from app.services.models.views import LineageEntry, ModelView
from app.web.rendering import kind_of_job


@dataclass(frozen=True, slots=True)
class Step:
    """`what` the step is; `link` is null for what is there no more; `status` is a job's."""

    what: str
    label: str
    link: str | None = None
    status: str | None = None
    here: bool = False


@dataclass(frozen=True, slots=True)
class Ancestry:
    """Of one project's things."""

    jobs: Jobs
    models: Models
    datasets: Datasets
    project_id: str

    def of_job(self, job: JobView) -> list[Step]:
        """The last step is what came of it, if anything did."""
        made = [] if job.model_id is None else [self._model_step(job.model_id)]
        return [*self._parents(job), *self._job_steps(job, here=True), *made]

    def of_model(self, model: ModelView) -> list[Step]:
        return [*self._generations(model.id), Step("model", _named(model), f"/models/{model.id}", here=True)]

    def _parents(self, job: JobView) -> list[Step]:
        if job.parent_model_id is not None:
            return self._generations(job.parent_model_id)
        if job.parent_job_id is None:
            return []
        try:
            parent = self.jobs.get(self.project_id, job.parent_job_id)
        except NotFound:
            return [Step("job", f"{job.parent_job_id}, deleted")]
        return [*self._parents(parent), *self._job_steps(parent)]

    def _generations(self, model_id: str) -> list[Step]:
        try:
            entries = self.models.lineage(self.project_id, model_id).data
        except NotFound:
            return [Step("model", f"{model_id}, deleted")]
        return [step for entry in entries for step in self._entry_steps(entry)]

    def _entry_steps(self, entry: LineageEntry) -> list[Step]:
        if entry.job_id is None:
            return [replace(self._model_step(entry.model_id), what="import")]
        try:
            return self._job_steps(self.jobs.get(self.project_id, entry.job_id))
        except NotFound:
            return [Step(entry.method.replace("_", " "), f"{entry.job_id}, deleted")]

    def _job_steps(self, job: JobView, *, here: bool = False) -> list[Step]:
        step = Step(
            kind_of_job(job.kind), job.name or job.method.replace("_", " "), f"/jobs/{job.id}", job.status, here
        )
        return [self._dataset_step(job.dataset_id), step]

    def _dataset_step(self, dataset_id: str) -> Step:
        try:
            return Step("data set", self.datasets.get(self.project_id, dataset_id).name, f"/datasets/{dataset_id}")
        except NotFound:
            return Step("data set", f"{dataset_id}, deleted")

    def _model_step(self, model_id: str) -> Step:
        try:
            return Step("model", _named(self.models.get(self.project_id, model_id)), f"/models/{model_id}")
        except NotFound:
            return Step("model", f"{model_id}, deleted")


def _named(model: ModelView) -> str:
    return next(iter(model.aliases), None) or model.name or model.method.replace("_", " ")
