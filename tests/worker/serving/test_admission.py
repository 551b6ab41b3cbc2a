import pytest

from app.contract.errors import Overloaded
from worker.serving.admission import Admission


def test_up_to_the_limit_is_let_in_and_room_comes_back() -> None:
    refusals: list[int] = []
    admission = Admission(10, lambda: refusals.append(1))
    with admission.hold(6):
        with admission.hold(4):
            pass
        with pytest.raises(Overloaded) as refusal, admission.hold(5):
            pass
        assert refusal.value.retry_after_seconds
    with admission.hold(10):
        pass
    assert refusals == [1]


def test_alone_any_amount_is_let_in() -> None:
    admission = Admission(10, lambda: None)
    with admission.hold(50), pytest.raises(Overloaded), admission.hold(1):
        pass


def test_who_fails_gives_its_place_back() -> None:
    admission = Admission(1, lambda: None)
    with pytest.raises(KeyError), admission.hold(1):
        raise KeyError
    with admission.hold(1):
        pass
