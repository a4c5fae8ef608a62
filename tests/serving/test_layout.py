"""Which columns a table of leads has, and which values fit: as requests with ready values decide it."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import InvalidInput
from features.windows import Floats
from serving.jobs.layout import Layout, rejected
from serving.scoring.scorer import Scorer


@pytest.fixture(scope="module")
def layout(scorer: Scorer) -> Layout:
    return Layout.of(scorer.builder)


def test_the_features_are_the_columns_of_the_version_in_its_order(layout: Layout, scorer: Scorer) -> None:
    assert layout.features == tuple(column.name for column in scorer.builder.columns)
    assert set(layout.traits) == set(scorer.builder.definition.trait_of) - set(layout.features)


def test_a_table_with_these_columns_in_any_order_is_fine(layout: Layout) -> None:
    layout.check(layout.known[::-1])
    layout.check(layout.required)


def test_a_missing_column_is_named_with_what_it_may_be_called(layout: Layout) -> None:
    names = [name if name != layout.features[3] else layout.features[3] + "s" for name in layout.required]
    with pytest.raises(InvalidInput, match=f"lacks column.*{layout.features[3]}.*Did you mean") as raised:
        layout.check(names)
    assert raised.value.field == layout.features[3]


def test_an_unknown_column_is_named_with_what_it_may_mean(layout: Layout) -> None:
    with pytest.raises(InvalidInput, match=r"does not know: 'acount_id'\. Did you mean 'account_id'"):
        layout.check([*layout.required, "acount_id"])


def test_what_a_table_may_lack_need_not_be_there(layout: Layout) -> None:
    can = layout.unknowable
    layout.check([name for name in layout.required if name not in can], may_lack=can)
    with pytest.raises(InvalidInput, match="lacks column"):
        layout.check([name for name in layout.required if name not in can])


def test_features_are_read_as_numbers_and_all_else_as_texts(layout: Layout) -> None:
    types = layout.types(["lead_id", layout.features[0]])
    assert types == {"lead_id": pl.String(), layout.features[0]: pl.Float64()}


CHANGES = st.lists(
    st.tuples(
        st.integers(0, 5),
        st.integers(0, 500),
        st.sampled_from([np.nan, np.inf, -np.inf, -1.0, -0.0, 0.5, 1.0, 2.0, 1e9]),
    ),
    max_size=4,
)


@settings(max_examples=200)
@given(changes=CHANGES)
def test_a_row_fits_where_a_request_with_it_would_be_taken(
    changes: list[tuple[int, int, float]], layout: Layout, scorer: Scorer, rows: Floats
) -> None:
    tried = rows[:6].copy()
    for row, column, value in changes:
        tried[row, column % tried.shape[1]] = value
    assert layout.fits(tried).tolist() == [_taken(scorer, row) for row in tried]


def _taken(scorer: Scorer, row: Floats) -> bool:
    names = [column.name for column in scorer.builder.columns]
    try:
        scorer.builder.ready.row(dict(zip(names, row.tolist(), strict=True)))
    except InvalidInput:
        return False
    return True


def test_no_rows_fit_all(layout: Layout) -> None:
    assert layout.fits(np.empty((0, len(layout.features)))).tolist() == []


@pytest.mark.parametrize("more", [{}, {"field": "a"}, {"field": "a", "hint": "Mend it."}])
def test_a_refused_row_has_the_one_shape_of_all_errors(more: dict[str, Any]) -> None:
    found = rejected(3, "u", "is wrong.", **more)
    assert found.error == {"code": "invalid_input", "message": "is wrong.", **more}
