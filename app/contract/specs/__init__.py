"""Job specifications: what a user may ask for, and nothing about how it is done."""

from app.contract.specs.job import (
    AnySpec,
    BatchPredictOptions,
    BatchPredictSpec,
    FinetuneSpec,
    JobSpec,
    PretrainSpec,
    TrainingSpec,
    job_spec_adapter,
    training_spec_adapter,
)

__all__ = [
    "AnySpec",
    "BatchPredictOptions",
    "BatchPredictSpec",
    "FinetuneSpec",
    "JobSpec",
    "PretrainSpec",
    "TrainingSpec",
    "job_spec_adapter",
    "training_spec_adapter",
]
