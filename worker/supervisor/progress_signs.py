"""Which lines of a training process show that its work goes on. What it merely prints or says again shows nothing."""

from app.contract.messages import LogLine, MetricsLine, ReportLine, ResolvedLine, SearchLine


class ProgressSigns:
    """While data are prepared, every line is a sign. Then a process that takes no step gives none, whatever it says."""

    def __init__(self) -> None:
        self._is_training = False
        self._told: tuple[int, frozenset[str] | int] | None = None

    def shown_by(self, line: ReportLine) -> bool:
        """Asked once for each line, in order."""
        match line:
            case ResolvedLine():
                self._is_training = True
            case LogLine():
                return not self._is_training
            case MetricsLine():
                before, self._told = self._told, (line.step, frozenset(line.values))
                return self._told != before
            case SearchLine():
                before, self._told = self._told, (line.step, line.num_done)
                return self._told != before
            case _:
                pass
        return True
