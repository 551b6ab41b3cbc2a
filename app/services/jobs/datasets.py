"""The data sets of a job that is asked for."""

from sqlalchemy.orm import Session

from app.contract.errors import FieldError, InvalidRequest
from app.db import datasets
from app.db.tables import DatasetRow


def find_dataset(session: Session, project_id: str, dataset_id: str, location: str) -> DatasetRow:
    """Held against deletion until the transaction ends. Raises InvalidRequest where there is none."""
    row = datasets.get(session, project_id, dataset_id, lock="share")
    if row is None:
        message = f"There is no data set {dataset_id!r}. Upload one to /v1/datasets."
        raise InvalidRequest(message, errors=[FieldError(location=location, message=message)])
    return row
