"""What became of a lead after a snapshot: converted, did not, or not yet known.

The label looks at [as_of, as_of + horizon), which tiles time with the windows: no event is in both.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from features.leads import Leads
from features.windows import Ints

UNKNOWN: Final = -1


def labels(leads: Leads, which: Ints, as_of: Ints, horizon: int, until: int) -> npt.NDArray[np.int8]:
    """Return 1 where the lead converts within the horizon, 0 where it does not, UNKNOWN where the data ends before.

    A conversion that was seen before the horizon has passed is UNKNOWN too: counting it while those who still may
    convert are left out would make young trials look better than they are.
    """
    converted = leads.converted_at[which]
    won = (converted >= as_of) & (converted - as_of < horizon)
    return np.where(as_of + horizon <= until, won.astype(np.int8), np.int8(UNKNOWN))
