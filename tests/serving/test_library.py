"""LightGBM comes when a model is parsed, alone, and hides nothing from who comes after it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from serving.scoring.library import UNNEEDED, lightgbm

ROOT = Path(__file__).parents[2]


def said(script: str) -> str:
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_importing_the_scorer_imports_no_lightgbm() -> None:
    assert said("import sys, serving.scoring.scorer; print('lightgbm' in sys.modules)") == "False"


def test_it_comes_without_what_scoring_does_not_need_and_leaves_that_to_others() -> None:
    script = (
        "import sys; from serving.scoring.library import UNNEEDED, lightgbm; lightgbm(); "
        "print(sorted(set(UNNEEDED) & set(sys.modules))); import pandas, sklearn; print(pandas.__name__, sklearn.__name__)"
    )
    assert said(script).splitlines() == ["[]", "pandas sklearn"]


def test_what_is_there_already_stays_in_sight() -> None:
    script = (
        "import pandas; from serving.scoring.library import lightgbm; import lightgbm.compat; "
        "print(lightgbm.compat.PANDAS_INSTALLED)"
    )
    assert said(script) == "True"


def test_it_is_the_library() -> None:
    assert hasattr(lightgbm(), "Booster")
    assert "lightgbm" not in UNNEEDED
