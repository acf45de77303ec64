"""The cells of tables, as terminal, report and bundle print them."""

from __future__ import annotations

import pytest

from kdtool.results import figures


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (figures.fixed(12.345, 1), "12.3"),
        (figures.points(0.92351), "92.4"),
        (figures.points(0.92351, 0), "92"),
        (figures.percent(0.92351), "92.4 %"),
        (figures.interval((0.5, 0.754)), "50.0–75.4"),
        (figures.share(0.92351, (0.9, 0.95)), "92.35 (90.0–95.0)"),
        (figures.share(1.0, (1.0, 1.0)), "100.00"),
        (figures.share(0.5, None), "50.00"),
        (figures.difference(1.111, (-0.5, 2.5)), "+1.11 (-0.5 to +2.5)"),
        (figures.difference(-1.0, None), "-1.00"),
        (figures.milliseconds(12.345, (11.234, 13.0)), "12.35 (11.23–13.00)"),
        (figures.milliseconds(0.5, None), "0.50"),
        (figures.per_second(412.4, (99.94, 1420.0)), "412 (99.9–1420)"),
        (figures.per_second(8.0, None), "8"),
        (figures.short(99.96), "100"),
        (figures.short(-0.5), "-0.5"),
        (figures.short(-1234.5), "-1234"),
        (figures.scaled(46_800_000, 1e6), "46.80"),
        (figures.scaled(4_200, 1e6), "0.0042"),
        (figures.scaled(0, 1e6), "0"),
        (figures.column(1_814_100_000, 1e9, 3), "1.814"),
        (figures.column(4_200, 1e6), "0.0042"),
        (figures.column(1_234_500_000, 1e6), "1,234.5"),
        (figures.column(0, 1e6), "–"),
    ],
)
def test_a_cell(cell: str, expected: str) -> None:
    assert cell == expected


def test_what_is_missing_is_a_dash_everywhere() -> None:
    nothing = [
        figures.fixed(None, 1), figures.points(None), figures.percent(None), figures.interval(None),
        figures.share(None, None), figures.difference(None, None), figures.milliseconds(None, None),
        figures.per_second(None, None), figures.short(None), figures.scaled(None, 1), figures.column(None, 1),
    ]  # fmt: skip
    assert set(nothing) == {"–"}
