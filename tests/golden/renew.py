"""Pages with what a sales rep reads of fifty PQLs of each example: `python -m tests.golden.renew [--only NAME]`.

They are there to be read aloud. Renew them after a change of a sentence or a model, and read what has changed before you keep it.
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from features.dataset import Dataset, dataset
from features.definition import parse
from features.durations import DAY
from features.leads import open_leads
from features.wording import whole_percent
from serving.scoring.answers import Answer, Asked, answers_of, subjects
from serving.scoring.scorer import Scorer
from training.demo import simulate
from training.demo_products import PRODUCTS
from training.pipeline import Settings, train

ROOT: Final = Path(__file__).parents[2]
EXAMPLES: Final = ("messaging", "documents", "design", "email", "api")
ACCOUNTS: Final = 4_000
"""Companies that try the product: with fewer, the trees of some examples do not beat a plain formula."""
MOMENTS: Final = 8
APART: Final = 9 * DAY
PQLS: Final = 50
SEED: Final = 5

HEAD: Final = (
    "What a sales rep reads of {n} PQLs of {product} (examples/{name}.yaml), drawn at random from {moments} days, and the "
    "message that each may get. Every line was read aloud before it was kept; `python -m tests.golden.renew --only {name}` writes "
    "the page anew."
)


def kept(name: str) -> Path:
    """Return where the page of an example is kept."""
    return Path(__file__).parent / f"reasons_{name}.txt"


def page(name: str) -> str:
    """Return the page of an example, made from scratch: the product is played, the definition trained, PQLs are drawn."""
    text = (ROOT / "examples" / f"{name}.yaml").read_text(encoding="utf-8")
    world = simulate(ACCOUNTS, SEED, product=PRODUCTS[name])
    data = dataset(world.events, world.trials, parse(text))
    scorer = Scorer(train(data, text, Settings()).artifact)
    drawn = pqls(scorer, data, PQLS)
    head = HEAD.format(n=len(drawn), product=scorer.builder.definition.product, name=name, moments=MOMENTS)
    return "\n\n".join([head, *(told(number, one) for number, one in enumerate(drawn, 1))]) + "\n"


def pqls(scorer: Scorer, data: Dataset, most: int) -> list[Answer]:
    """Return PQLs of several days by lot, each lead on one of them."""
    found = {one.lead_id: one for i in range(1, MOMENTS + 1) for one in _met(scorer, data, data.until - i * APART)}
    order = np.random.default_rng(SEED).permutation(len(found))[:most]
    known = sorted(found.values(), key=lambda one: one.lead_id)
    return [known[place] for place in order.tolist()]


def _met(scorer: Scorer, data: Dataset, as_of: int) -> Iterator[Answer]:
    """Yield the PQLs of one moment."""
    for part in data.parts(open_leads(data.leads, as_of)):
        everyone = np.arange(len(part.numbers))
        met = subjects(scorer, part.leads, part.logs, everyone, np.full(len(everyone), as_of))
        yield from (one for one in answers_of(scorer, met, Asked(whom="likely")) if one.is_pql)


def told(number: int, one: Answer) -> str:
    """Return what is said of one lead, without anything that names it or the version."""
    lines = [f"{number}. {whole_percent(100 * one.probability)}% at {one.trial_day:.1f} days ({one.track})"]
    lines += [f"for: {_with_mention(why.text, why.mention)}" for why in one.reasons]
    lines += [f"against: {why.text}" for why in one.against]
    lines += [f"missing: {what.text}" for what in one.missing]
    if one.playbook is not None:
        lines += [f"do: {one.playbook.title}", f'write: "{one.playbook.message}"']
    return textwrap.indent("\n".join(lines), "   ").removeprefix("   ")


def _with_mention(text: str, mention: str | None) -> str:
    return text if mention is None else f'{text} [you may say: "{mention}"]'


def main() -> None:
    """Write the pages asked for, or all."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument(
        "--only", choices=EXAMPLES, action="append", help="write the page of this example, keep the others"
    )
    for name in words.parse_args().only or EXAMPLES:
        kept(name).write_text(page(name), encoding="utf-8")
        print(f"wrote {kept(name).relative_to(ROOT)}: read it aloud")


if __name__ == "__main__":
    main()
