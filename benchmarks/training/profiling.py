"""Where the time of a training's steps goes, by the operations that take it themselves."""

from pathlib import Path

from torch.profiler import ProfilerActivity, profile

from benchmarks.training.contestants import Loop
from benchmarks.training.workloads import Workload

WARM_UP_STEPS, STEPS = 2, 3
LINES = 25


def profiled(workload: Workload, folder: Path) -> str:
    """In this process, with its threads."""
    loop = Loop(workload.assignment(folder / "output"))
    for _ in range(WARM_UP_STEPS):
        loop.step()
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        for _ in range(STEPS):
            loop.step()
    table: str = recorded.key_averages().table(sort_by="self_cpu_time_total", row_limit=LINES, max_name_column_width=60)
    return table
