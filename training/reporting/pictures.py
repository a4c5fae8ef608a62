"""The pictures of a report as files of their own, for those who look at a run and do not open the page."""

from __future__ import annotations

import re
from typing import Final

_SPACES: Final = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
_STYLE: Final = "background:{page};color:{ink};font-family:sans-serif"


def pictures_of(page: str) -> dict[str, str]:
    """Return each picture of a page as an SVG file, by its name, in the page's light colours.

    >>> list(pictures_of('<style>:root { --page: #fff; --ink: #000 }</style><svg viewBox="0 0 1 1"><g id="days-1"/></svg>'))
    ['days']
    """
    light = re.search(r":root\s*{([^}]*)}", page)
    colours = dict(re.findall(r"--([\w-]+):\s*([^;}]+?)\s*[;}]", f"{light[1]};")) if light else {}
    style = _STYLE.format(page=colours.get("page", "#fff"), ink=colours.get("ink", "#000"))
    found: dict[str, str] = {}
    for place, (head, inner) in enumerate(re.findall(r"<svg([^>]*)>(.*?</svg>)", page, re.DOTALL), 1):
        painted = re.sub(r"var\(--([\w-]+)\)", lambda match: colours.get(match[1], "currentColor"), inner)
        view = re.search(r'viewBox="[^"]*"', head)
        named = re.search(r' id="([\w-]+?)-', inner)
        name = named[1] if named and named[1] not in found else f"picture-{place}"
        found[name] = f'<svg {_SPACES} {view[0] if view else ""} style="{style}">{painted}\n'
    return found
