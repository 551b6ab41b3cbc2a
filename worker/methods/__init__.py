"""Every method by (kind, type): one line a method, imported here and nowhere by effect.

A method is `prepare(assignment, log) -> Method` in a file of its own.
"""

from app.contract.compatibility import MethodKey
from worker.methods.pretrain import causal_language_model
from worker.training.protocols import Builder

BUILDERS: dict[MethodKey, Builder] = {
    ("pretrain", "causal_language_model"): causal_language_model.prepare,
}
