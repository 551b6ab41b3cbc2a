"""Pretraining under mean squared error on vectors with targets: the source text's worked example."""

from app.contract.messages import Assignment
from app.contract.specs import PretrainSpec
from app.contract.specs.methods import PretrainRegression
from worker.methods.example_method import described, fit_inputs, parted, pretrained_body, pretraining_data
from worker.methods.regression_method import RegressionMethod, fit_targets, target_size, targets_of
from worker.models.building import build_body
from worker.models.heads import Regressor
from worker.models.mlp import MlpBody
from worker.training.protocols import Log


def prepare(assignment: Assignment, log: Log) -> RegressionMethod:
    spec = assignment.spec
    assert isinstance(spec, PretrainSpec)
    assert isinstance(spec.method, PretrainRegression)
    data, validation_data = pretraining_data(assignment, log)
    sides = parted(assignment, data, validation_data, targets_of)
    size = target_size(sides)
    description = described(spec, pretrained_body(spec.method.architecture, data), target_size=size)
    body = build_body(description.body)
    assert isinstance(body, MlpBody)
    fit_inputs(body.standardization, sides.training)
    model = Regressor(body, size)
    fit_targets(model, sides.training)
    return RegressionMethod(model, description, sides, spec.training)
