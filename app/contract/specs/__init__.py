"""Job specifications: what a user may ask for, and nothing about how it is done."""

from app.contract.specs.job import (
    AnySpec,
    BatchPredictOptions,
    BatchPredictSpec,
    EvaluateOptions,
    EvaluateSpec,
    FinetuneSpec,
    JobSpec,
    ModelJobSpec,
    PretrainSpec,
    TrainingSpec,
    job_spec_adapter,
    training_spec_adapter,
)

__all__ = [
    "AnySpec",
    "BatchPredictOptions",
    "BatchPredictSpec",
    "EvaluateOptions",
    "EvaluateSpec",
    "FinetuneSpec",
    "JobSpec",
    "ModelJobSpec",
    "PretrainSpec",
    "TrainingSpec",
    "job_spec_adapter",
    "training_spec_adapter",
]
