"""Compiled functions of a kernel, on first use: importing what calls them costs and touches nothing."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any


@cache
def compiled(kernel: ModuleType, name: str) -> Callable[..., Any]:
    """Return a function of a kernel as machine code, which is kept on disk beside its source and holds up no other thread."""
    from numba import njit

    function = getattr(kernel, name)
    # One that others of its kernel call is a dispatcher already; without its own it would be compiled at every start.
    plain = getattr(function, "py_func", function)
    try:
        found: Callable[..., Any] = njit(cache=True, nogil=True)(plain)
    except RuntimeError:
        # Nothing can be written here or at home (NUMBA_CACHE_DIR names another place): compiled anew at every start.
        found = njit(nogil=True)(plain)
    return found
