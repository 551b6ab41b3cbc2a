"""Fine-tuning under mean squared error, from the parent's weights: on vectors or texts with targets."""

from app.contract.messages import Assignment
from app.contract.specs import FinetuneSpec
from worker.data.examples import Subset
from worker.methods.example_method import described, parted
from worker.methods.finetune.parent import Parent
from worker.methods.regression_method import RegressionMethod, fit_targets, target_size, targets_of
from worker.models.heads import Regressor
from worker.training.protocols import Log


def prepare(assignment: Assignment, log: Log) -> RegressionMethod:
    spec = assignment.spec
    assert isinstance(spec, FinetuneSpec)
    parent = Parent.of(assignment)
    data, validation_data = parent.data(assignment, log)
    sides = parted(assignment, data, validation_data, targets_of)
    size = target_size(sides)
    model = _regressor(parent, size, sides.training)
    description = described(spec, parent.description, target_size=size)
    return RegressionMethod(model, description, sides, spec.training, parent.tokenizer)


def _regressor(parent: Parent, size: int, training: Subset) -> Regressor:
    """The parent itself where it is a regression onto as many targets, its head and their scale included."""
    if isinstance(parent.module, Regressor) and parent.module.head.out_features == size:
        return parent.module
    model = Regressor(parent.body, size)
    fit_targets(model, training)
    return model
