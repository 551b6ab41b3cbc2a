import pytest

from worker.serving.predictors.windows import Window, windows


@pytest.mark.parametrize("context_length", [2, 3, 8, 9])
@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 12, 13, 100])
def test_each_position_counts_once_with_half_the_context_before_it(length: int, context_length: int) -> None:
    cut = list(windows(length, context_length))
    counted = [place for window in cut for place in range(window.counted_from, window.end)]
    assert counted == list(range(length))
    for start, end, counted_from in cut:
        assert end - start <= context_length
        assert counted_from - start >= min(counted_from, context_length - context_length // 2 - 1)


def test_a_text_within_the_context_is_one_window() -> None:
    assert list(windows(8, 8)) == [Window(0, 8, 0)]


def test_windows_overlap_by_half() -> None:
    assert list(windows(14, 8)) == [Window(0, 8, 0), Window(4, 12, 8), Window(8, 14, 12)]
