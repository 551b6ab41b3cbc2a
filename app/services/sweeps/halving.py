"""Which trials go on behind a rung, by asynchronous successive halving (Li et al. 2020). Decides only."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Standing:
    """A trial that has not failed. `losses` by rung: the lower the better. It has passed `rung` rungs; `waits`: it
    stands at the next and is to be decided on. `is_over`: it has ended, at its end or pruned."""

    number: int
    rung: int
    losses: dict[int, float]
    waits: bool = False
    is_over: bool = False

    @property
    def is_active(self) -> bool:
        return not self.waits and not self.is_over


@dataclass(slots=True)
class Verdict:
    """Numbers of trials; those to promote from the highest rung down, the best first."""

    promoted: list[int] = field(default_factory=list)
    pruned: set[int] = field(default_factory=set)


def decide(
    standings: Sequence[Standing], *, factor: int, num_rungs: int, num_trials: int, more_to_come: bool
) -> Verdict:
    """Of the trials that wait, those among the best 1/`factor` of their rung so far are promoted. Once nobody can come
    to a rung any more, the others there are pruned; before, those that even all `num_trials` trials could not lift. At
    least one goes on from each rung."""
    verdict, promoted = Verdict(), []
    for rung in range(num_rungs):
        ranked = _ranked(standings, rung)
        arriving = more_to_come or any(_may_come_to(rung, each, verdict.pruned) for each in standings)
        going_on = max(len(ranked) // factor, 0 if arriving else 1)
        ever_going_on = max(num_trials // factor ** (rung + 1), 1) if arriving else going_on
        waiting = [(rank, each.number) for rank, each in enumerate(ranked) if each.waits and each.rung == rung]
        promoted.append([number for rank, number in waiting if rank < going_on])
        verdict.pruned |= {number for rank, number in waiting if rank >= max(ever_going_on, going_on)}
    verdict.promoted = [number for of_rung in reversed(promoted) for number in of_rung]
    return verdict


def decide_without_means(standings: Sequence[Standing], num_rungs: int) -> Verdict:
    """The budget is spent: no trial is promoted, unless none would reach its end; then the best of those that came
    furthest."""
    waiting = [each for each in standings if each.waits]
    if any(each.is_active for each in standings) or not waiting:
        return Verdict()
    chosen: Collection[int] = ()
    if not any(each.is_over and len(each.losses) == num_rungs for each in standings):
        furthest = max(each.rung for each in waiting)
        chosen = [_ranked([each for each in waiting if each.rung == furthest], furthest)[0].number]
    return Verdict([*chosen], {each.number for each in waiting} - {*chosen})


def _ranked(standings: Sequence[Standing], rung: int) -> list[Standing]:
    """Those that have come to the rung, the best first."""
    there = [each for each in standings if rung in each.losses]
    return sorted(there, key=lambda each: (each.losses[rung], each.number))


def _may_come_to(rung: int, each: Standing, pruned: Collection[int]) -> bool:
    """Whether a trial is still on its way there."""
    if each.is_over or each.number in pruned or each.rung > rung:
        return False
    return not (each.waits and each.rung == rung)
