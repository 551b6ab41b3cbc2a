"""What a data set holds, counted in one pass and constant memory. Knows no file type.

Lengths are counted exactly below 1,000 and to three significant digits above (an error of at most 0.5 %).
Duplicates are exact up to 65,536 distinct records, beyond that estimated from a sample by hash (distinct sampling,
Gibbons 2001): the sample halves whenever it fills up.
"""

from collections import Counter
from collections.abc import Hashable
from typing import Any

from app.contract.model_folder import Label, label_key
from app.records.limits import MAX_LABELS
from app.records.problems import shown

SAMPLE_SIZE = 1 << 16
DOMINANT_SHARE = 0.9


class Lengths:
    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self._max = 0

    def add(self, length: int) -> None:
        self._max = max(self._max, length)
        self._counts[length if length < 1000 else int(float(f"{length:.3g}"))] += 1

    def profile(self) -> dict[str, int]:
        return {"p50": self._percentile(0.50), "p95": self._percentile(0.95), "max": self._max}

    def _percentile(self, fraction: float) -> int:
        """The smallest length that at least this fraction of the records does not exceed."""
        wanted, seen = fraction * self._counts.total(), 0
        for length in sorted(self._counts):
            seen += self._counts[length]
            if seen >= wanted:
                return min(length, self._max)
        return 0


class LabelCounts:
    """Counts up to MAX_LABELS distinct labels; what comes after only adds to `uncounted`."""

    def __init__(self, what: str = "label") -> None:
        self._what = what
        self._counts: Counter[Label] = Counter()
        self._uncounted = 0

    def add(self, label: Label) -> None:
        if label in self._counts or len(self._counts) < MAX_LABELS:
            self._counts[label] += 1
        else:
            self._uncounted += 1

    def profile(self) -> dict[str, Any]:
        labels = {label_key(label): count for label, count in sorted(self._counts.items())}
        if self._uncounted:
            return {"labels": labels, "num_labels": None, "uncounted_labels": self._uncounted}
        return {"labels": labels, "num_labels": len(labels)}

    def warnings(self) -> list[str]:
        if self._uncounted:
            return [f"More than {MAX_LABELS:,} distinct {self._what}s: only the first ones are counted."]
        (top, count), total = self._counts.most_common(1)[0], self._counts.total()
        if len(self._counts) == 1:
            return [f"Every record has the {self._what} {shown(top)}: there is nothing to tell apart."]
        warnings = []
        if count > DOMINANT_SHARE * total:
            warnings.append(f"The {self._what} {shown(top)} stands on {100 * count / total:.0f} % of the records.")
        if single := sum(1 for value in self._counts.values() if value == 1):
            warnings.append(f"{single:,} of {len(self._counts):,} {self._what}s occur only once.")
        return warnings


class Duplicates:
    def __init__(self, what: str) -> None:
        self._what = what
        self._mask = 0
        self._counts: dict[int, int] = {}

    def add(self, record: Hashable) -> None:
        digest = hash(record)
        if digest & self._mask:
            return
        self._counts[digest] = self._counts.get(digest, 0) + 1
        if len(self._counts) > SAMPLE_SIZE:
            self._mask = self._mask * 2 + 1
            self._counts = {digest: n for digest, n in self._counts.items() if not digest & self._mask}

    def warnings(self) -> list[str]:
        repeated = sum(self._counts.values()) - len(self._counts)
        if not repeated:
            return []
        scale = self._mask + 1
        about = "About " if scale > 1 else ""
        return [f"{about}{repeated * scale:,} records repeat the {self._what} of an earlier one."]
