"""A version answers before anybody asks it, and one whose answers cannot be is not served."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from features.errors import ArtifactError
from features.windows import Floats
from serving.models.rehearsal import check_behaviour, check_text, rehearse
from serving.scoring.scorer import Scorer


@pytest.fixture(params=["demo", "rich", "accounts"])
def made(
    request: pytest.FixtureRequest, made_scorer: Callable[..., Scorer], definition_text: str, rich_definition: str,
    rich_account_definition: str,
) -> Scorer:  # fmt: skip
    """A scorer of users, of every measure and trait, and of accounts."""
    text = {"demo": definition_text, "rich": rich_definition, "accounts": rich_account_definition}[request.param]
    return made_scorer(text)


def test_every_kind_of_version_answers_for_its_examples_and_for_a_beginner(made: Scorer) -> None:
    told = rehearse(made)
    assert [one.lead_id for one in told[:2]] == ["beginner", "example 0"]
    assert len(told) == len(made.artifact.examples) + 1
    assert all(0 < one.probability < 1 for one in told)
    assert any(one.reasons or one.against for one in told)


def test_an_example_is_answered_with_its_own_score(made: Scorer) -> None:
    expected = made.artifact.expected.tolist()
    assert [one.probability for one in rehearse(made)[1:]] == pytest.approx(expected, abs=1e-12)


def test_every_kind_of_version_that_is_whole_passes(made: Scorer) -> None:
    check_text(made.artifact)
    check_behaviour(made)


def test_afterwards_no_request_waits_for_a_table(made_scorer: Callable[..., Scorer], definition_text: str) -> None:
    made = made_scorer(definition_text)
    vars(made).pop("contributions", None)
    rehearse(made)
    assert {"contributions", "explainer"} <= set(vars(made))


def test_without_examples_there_is_nothing_to_try(made: Scorer) -> None:
    bare = replace(made.artifact, examples=np.empty((0, 3)), expected=np.empty(0))
    with pytest.raises(ArtifactError, match=r"must hold examples with their scores, got none"):
        check_text(bare)


def test_a_text_that_lightgbm_reads_as_another_is_refused(made: Scorer) -> None:
    # Inside of a tree another length alone would end this process.
    head = "feature_importances:\n"
    other = replace(made.artifact, booster_text=made.artifact.booster_text.replace(head, f"{head}Column_0=999\n"))
    with pytest.raises(ArtifactError, match=r"the model that LightGBM reads from it is another text") as refused:
        check_text(other)
    assert refused.value.reason == "text_differs"


def test_two_ways_to_a_score_that_lie_apart_are_refused(made: Scorer, monkeypatch: pytest.MonkeyPatch) -> None:
    right = made.contributions
    monkeypatch.setitem(vars(made), "contributions", lambda rows: right(rows) + np.isnan(rows).all(axis=1)[:, None])
    with pytest.raises(ArtifactError, match=r"a stored example must score .* and scores"):
        check_behaviour(made)


def test_a_score_that_is_no_probability_is_refused(made: Scorer, monkeypatch: pytest.MonkeyPatch) -> None:
    scored = made.score(made.artifact.examples)
    wrong = replace(scored, probabilities=np.array([0.5, 1.0]))
    monkeypatch.setattr(made, "score", lambda _: wrong)
    with pytest.raises(ArtifactError, match=r"a score must lie between 0 and 1"):
        check_behaviour(made)


def test_a_percentile_that_is_no_number_is_refused(made: Scorer, monkeypatch: pytest.MonkeyPatch) -> None:
    scored = made.score(made.artifact.examples)
    wrong = replace(scored, percentiles=np.array([np.nan]))
    monkeypatch.setattr(made, "score", lambda _: wrong)
    with pytest.raises(ArtifactError, match=r"percentiles and later scores must be numbers"):
        check_behaviour(made)


def test_a_score_that_is_not_the_librarys_is_refused(made: Scorer, monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong:
        def predict(self, rows: Floats, **_: object) -> Floats:
            return np.zeros(len(rows))

    monkeypatch.setitem(vars(made.artifact), "booster", Wrong())
    with pytest.raises(ArtifactError, match=r"booster\.txt: a stored example must score .* and scores"):
        check_behaviour(made)
