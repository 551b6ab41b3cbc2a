import argparse
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import benchmarks.training
from benchmarks.document import write_section
from benchmarks.quality.bench import Bench
from benchmarks.training import first_batch, service
from benchmarks.training.profiling import profiled
from benchmarks.training.rates import ROWS, measured_row
from benchmarks.training.workloads import QUICK, WHOLE, WORKLOADS, Scale

PARTS: Mapping[str, Callable[[Bench, Scale, int], str]] = {
    **{name: partial(measured_row, row) for name, row in ROWS.items()},
    "first-batch": first_batch.measured,
    "first-step": service.first_step,
    "estimates": service.estimates,
}
#: What must be installed for them.
TRAINER = ("accelerate", "transformers")
PEERS = {"transformer": TRAINER, "texts": TRAINER, "first-batch": ("datasets", "transformers")}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=benchmarks.training.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="tiny shapes, one round: to see that it runs")
    parser.add_argument("--profile", choices=WORKLOADS, help="where the time of the bare loop goes, and nothing else")
    parser.add_argument("--write", action="store_true", help="the tables into docs/performance.md")
    options = parser.parse_args()
    if options.quick and options.write:
        parser.error("what --quick measures is not worth writing")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("It was ended."))  # and the contestants with it
    needed = {name for row in options.rows for name in PEERS.get(row, ())}
    if missing := sorted(name for name in needed if find_spec(name) is None):
        sys.exit(f"There is no {' and no '.join(missing)}: pip install -c constraints.txt -e '.[benchmarks,test]'")
    scale, rounds = (QUICK, 1) if options.quick else (WHOLE, options.rounds)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        if options.profile:
            print(profiled(WORKLOADS[options.profile](bench, scale), bench.folder))
            return
        tables = []
        for name in options.rows:
            tables.append(PARTS[name](bench, scale, rounds))
            print(f"{tables[-1]}\n", flush=True)
            if options.write:  # what is measured is kept, whatever becomes of the rest
                write_section("training", "\n\n".join(tables))


if __name__ == "__main__":
    main()
