"""The benchmark of training runs, and compares what it says: in tiny shapes, with no figure judged."""

import re
import subprocess
import sys

import pytest


@pytest.mark.slow
@pytest.mark.timeout(400)  # six processes import torch, one after the other
def test_a_row_compares_a_job_with_its_bare_loop_and_a_peer() -> None:
    command = [sys.executable, "-m", "benchmarks.training", "--quick", "--rows", "lstm"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = dict(re.findall(r"^\| ([^|]+?) \| ([\d,]+) \|", told, re.MULTILINE))
    assert list(rows) == ["a job", "its loop, bare", "nn.LSTM, fp32, eager"]
    assert all(int(rate.replace(",", "")) > 0 for rate in rows.values())
    assert len(re.findall(r"(?:met|missed) \|$", told, re.MULTILINE)) == 2
