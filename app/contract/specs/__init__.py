"""Job specifications: what a user may ask for, and nothing about how it is done."""

from app.contract.specs.job import FinetuneSpec, JobSpec, PretrainSpec, job_spec_adapter

__all__ = ["FinetuneSpec", "JobSpec", "PretrainSpec", "job_spec_adapter"]
