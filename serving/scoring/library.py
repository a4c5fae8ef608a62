"""LightGBM, imported when a model is parsed and not before, without what it does not need to score."""

from __future__ import annotations

import sys
from functools import cache
from types import ModuleType
from typing import Any, Final

UNNEEDED: Final = ("cffi", "dask", "pandas", "pyarrow", "sklearn")
"""What it imports, for rows of other forms than ours, wherever it is installed: three quarters of a second."""


@cache
def lightgbm() -> ModuleType:
    """Return the library; where something else has imported it already, as it is."""
    hidden: dict[str, Any] = dict.fromkeys(name for name in UNNEEDED if name not in sys.modules)
    # To an import, None is a module that is not installed.
    sys.modules.update(hidden)
    try:
        import lightgbm
    finally:
        for name in hidden:
            del sys.modules[name]
    found: ModuleType = lightgbm
    return found
