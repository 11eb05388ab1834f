"""Numbers as a person reads them."""

import pytest

from dashboard import numbers


@pytest.mark.parametrize(
    ("seconds", "ja", "en"),
    [
        (None, "—", "—"), (float("nan"), "—", "—"), (0, "0秒", "0 s"), (12.4, "12秒", "12 s"),
        (100, "1分40秒", "1 min 40 s"), (60, "1分", "1 min"), (4980, "1時間23分", "1 h 23 min"),
        (3599.6, "1時間", "1 h"), (200_000, "2日7時間", "2 d 7 h"), (-3, "0秒", "0 s"),
    ],
)  # fmt: skip
def test_duration(seconds, ja, en):
    assert numbers.duration(seconds, "ja") == ja
    assert numbers.duration(seconds, "en") == en


def test_each_number_has_its_precision():
    assert numbers.loss(1.23456) == "1.235"
    assert numbers.rate(2310.7) == "2,311"
    assert numbers.percent(87.44) == "87.4 %"
    assert numbers.gib(9.04 * 2**30) == "9.0 GiB"
    assert numbers.file_size(9_400_000) == "9.0 MiB"
    assert numbers.file_size(512) == "512 B"
    assert numbers.small(0.000000123) == "1.2e-7"
    assert numbers.small(0.0) == "0.0e0"
    assert numbers.millions(3_821_000_000) == "3.82 B"
    assert numbers.millions(4_100_000) == "4.1 M"


def test_what_was_not_measured_is_a_dash_and_no_zero():
    for show in (numbers.loss, numbers.rate, numbers.percent, numbers.gib, numbers.file_size, numbers.small,
                 numbers.count, numbers.millions):  # fmt: skip
        assert show(None) == "—"
    assert numbers.loss(float("nan")) == "NaN"
    assert numbers.loss(float("inf")) == "∞"
