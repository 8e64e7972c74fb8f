"""Which columns of a table fit on a terminal."""

import pytest

from cogmeter_bot.cli.output import Column, fit_columns

COLUMNS = (
    Column("#", right=True, hides=2),
    Column("state"),
    Column("severity", hides=3),
    Column("since", hides=1),
    Column("service", flexible=True),
    Column("message", flexible=True, least=24),
)
ROW = ("1204", "acknowledged", "critical", "2026-11-29 19:51:43", "core-intelligence", "Error rate " * 20)


def visible(width, columns=COLUMNS, row=ROW):
    return [columns[index].title for index in fit_columns(columns, [row], width, gap=2)[0]]


@pytest.mark.parametrize(
    ("width", "hidden"), [(60, ["#", "severity", "since"]), (80, ["#", "severity"]), (90, ["severity"]), (91, [])]
)
def test_date_and_message_stay_and_less_important_columns_go_first(width, hidden):
    assert visible(width) == [column.title for column in COLUMNS if column.title not in hidden]


@pytest.mark.parametrize("width", range(60, 200, 7))
def test_the_columns_fill_the_width_and_do_not_exceed_it(width):
    indexes, widths = fit_columns(COLUMNS, [ROW], width, gap=2)
    assert sum(widths) + 2 * len(indexes) <= width


def test_a_column_with_short_texts_needs_no_more_than_they_do():
    assert visible(80, row=("1", "firing", "info", "2026-11-29 19:51:43", "web", "Short.")) == [
        column.title for column in COLUMNS
    ]


def test_headings_alone_fit():
    assert fit_columns(COLUMNS, [], 80, gap=2)[0] == [0, 1, 2, 3, 4, 5]
