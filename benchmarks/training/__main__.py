import argparse
import os
import signal
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import benchmarks.training
from benchmarks.quality.bench import Bench
from benchmarks.training.rates import ROWS, measured_row
from benchmarks.training.workloads import QUICK, WHOLE


def main() -> None:
    parser = argparse.ArgumentParser(
        description=benchmarks.training.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="tiny shapes, one round: to see that it runs")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("It was ended."))
    if missing := [name for name in ("accelerate", "datasets", "transformers") if find_spec(name) is None]:
        sys.exit(f"{' and '.join(missing)} not installed here: pip install -c constraints.txt -e '.[benchmarks]'")
    scale, rounds = (QUICK, 1) if options.quick else (WHOLE, options.rounds)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        for name in options.rows:
            print(measured_row(ROWS[name], bench, scale, rounds), flush=True)


if __name__ == "__main__":
    main()
