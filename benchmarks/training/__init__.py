"""How fast training is, beside what people would take instead, on the same cores and in turns.

    python -m benchmarks.training [--rows transformer lstm ...] [--rounds 3] [--quick] [--write]
    python -m benchmarks.training --profile transformer

One contestant computes while the others stand still, so a busy neighbour hurts all alike: quote the ratios of medians,
not the rates. Where neighbours are busy, the rate by the cores' own seconds (`of CPU`) is the steadier one.

The peers are Hugging Face's Trainer and `datasets.map`: pip install -c constraints.txt -e '.[benchmarks]'
"""
