"""Which trials go on behind a rung."""

import random

from app.services.sweeps.halving import Standing, Verdict, decide, decide_without_means

#: Of three rungs, that a third passes each.
RULE = {"factor": 3, "num_rungs": 2, "num_trials": 9}


def waiting(number: int, loss: float, rung: int = 0) -> Standing:
    return Standing(number, rung, {**dict.fromkeys(range(rung), 0.0), rung: loss}, waits=True)


def test_the_best_third_so_far_is_promoted_and_the_others_wait() -> None:
    verdict = decide([waiting(0, 3.0), waiting(1, 1.0), waiting(2, 2.0)], **RULE, more_to_come=True)

    assert verdict == Verdict([1], set())


def test_nobody_is_promoted_before_a_third_is_known() -> None:
    assert decide([waiting(0, 3.0), waiting(1, 1.0)], **RULE, more_to_come=True) == Verdict()


def test_what_all_trials_to_come_could_not_lift_is_pruned_at_once() -> None:
    standings = [waiting(number, float(number)) for number in range(5)]

    assert decide(standings, **RULE, more_to_come=True) == Verdict([0], {3, 4})


def test_when_nobody_can_come_any_more_the_rest_goes() -> None:
    assert decide([waiting(0, 3.0), waiting(1, 1.0)], **RULE, more_to_come=False) == Verdict([1], {0})


def test_who_is_on_the_way_to_a_rung_is_waited_for() -> None:
    standings = [waiting(0, 3.0), waiting(1, 1.0), Standing(2, 0, {})]

    assert decide(standings, **RULE, more_to_come=False) == Verdict()


def test_a_rung_waits_for_those_that_lower_ones_promote() -> None:
    standings = [waiting(0, -1.0), waiting(1, 5.0, rung=1)]

    verdict = decide(standings, **RULE, more_to_come=False)
    assert verdict.promoted == [0]
    assert verdict.pruned == set()


def test_whatever_happens_some_trial_comes_to_its_end_and_none_is_left_waiting() -> None:
    for seed in range(200):
        chance = random.Random(seed)  # noqa: S311
        num_trials, factor, num_rungs = chance.randint(1, 30), chance.randint(2, 4), chance.randint(1, 4)
        losses = [[chance.random() for _ in range(num_rungs)] for _ in range(num_trials)]
        ended = _simulated(chance, losses, factor, num_rungs)
        assert any(ended.values()), seed
        assert len(ended) == num_trials


def _simulated(chance: random.Random, losses: list[list[float]], factor: int, num_rungs: int) -> dict[int, bool]:
    """Trials arrive at rungs in any order. -> which have ended, and whether at their end"""
    rungs: dict[int, int] = {}
    arrived: set[int] = set()
    over: dict[int, bool] = {}
    for _ in range(10_000):
        if len(rungs) < len(losses) and chance.random() < 0.5:
            rungs[len(rungs)] = 0
        elif active := [number for number in rungs if number not in arrived and number not in over]:
            number = chance.choice(active)
            if rungs[number] == num_rungs:
                over[number] = True
            else:
                arrived.add(number)
        standings = [
            Standing(
                number,
                rung,
                {at: losses[number][at] for at in range(num_rungs) if at < rung or (at == rung and number in arrived)},
                waits=number in arrived,
                is_over=number in over,
            )
            for number, rung in rungs.items()
        ]
        verdict = decide(
            standings,
            factor=factor,
            num_rungs=num_rungs,
            num_trials=len(losses),
            more_to_come=len(rungs) < len(losses),
        )
        assert not {*verdict.promoted} & verdict.pruned
        for number in verdict.promoted:
            rungs[number] += 1
        over |= dict.fromkeys(verdict.pruned, False)
        arrived -= {*verdict.promoted, *verdict.pruned}
        if len(over) == len(losses):
            break
    return over


def test_without_means_nobody_goes_on_but_the_one_that_is_needed() -> None:
    standings = [waiting(0, 3.0), waiting(1, 1.0), waiting(2, 2.0, rung=1)]
    done = Standing(3, 2, {0: 0.0, 1: 0.0}, is_over=True)

    assert decide_without_means(standings, 2) == Verdict([2], {0, 1})
    assert decide_without_means([*standings, done], 2) == Verdict([], {0, 1, 2})
    assert decide_without_means([*standings, Standing(4, 1, {0: 9.0})], 2) == Verdict()
