"""The command line: each verb calls the room that does the work, and says in words or JSON what came of it.

Exit codes: 0 done, 2 bad input or definition, 3 honest refusal, 1 our fault.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from time import time_ns
from typing import Any, Literal

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from features.durations import parse_span
from features.errors import InvalidInput, PQLError
from features.sources.formats import FORMATS
from features.times import parse_instant
from training.registry.meant import DEFAULT_MODEL, model_folder, scorer_of, to_serve

as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object for machines.")
data_argument = click.argument("data")
trials_option = click.option("--trials", help="Trials table; without it the events tell.")
format_option = click.option(
    "--format", "form", metavar="|".join(FORMATS), help="Of the events; else name and content tell."
)
model_option = click.option(
    "--model", default=DEFAULT_MODEL, show_default=True, help="NAME@alias, NAME/version or a folder."
)
versions_option = click.option(
    "--model", multiple=True, help="Of the receipt's version; default: the registry has it. Twice for two versions."
)
receipts_option = click.option(
    "--receipts", envvar="PQL_RECEIPTS", default="receipts", show_default=True, metavar="FOLDER",
    help="Where receipts are kept; also PQL_RECEIPTS; `none` keeps none.",
)  # fmt: skip
why_option = click.option("--why", metavar="TEXT", help="The reason, kept with the version.")


class _Verbs(click.Group):
    """Turns every error we raise on purpose into its sentence and its exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except PQLError as error:
            click.echo(f"{type(error).__name__}: {error}", err=True)
            ctx.exit(error.exit_code)


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pql-scoring-service")
def main() -> None:
    """Find the trial users who will pay, and say why."""


def span(_: click.Context, __: click.Parameter, value: str | None) -> Any:
    """Read `14d`, or a list such as `1d,3d`."""
    try:
        return None if value is None else tuple(parse_span(part) for part in value.split(","))
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@main.command()
@data_argument
@format_option
@trials_option
@click.option("--conversion", help="Name of the event that is the conversion.")
@click.option("--horizon", callback=span, help="Within which time it must happen, such as 30d.")
@click.option("--trial-length", callback=span, help="Such as 14d.")
@click.option("--score-at", callback=span, help="Ages of a trial to score it at, such as 1d,3d,7d.")
@click.option(
    "--lead", type=click.Choice(["user", "account"]), default="user", show_default=True, help="What is scored."
)
@click.option("--product", default="My product", help="What the product is called in messages.")
@click.option("-o", "out", type=click.Path(path_type=Path), default=Path("pql.yaml"), show_default=True)
@click.option("--force", is_flag=True, help="Overwrite the file if it is there.")
@as_json
def init(
    data: str, form: str | None, trials: str | None, conversion: str | None, horizon: tuple[int] | None,
    trial_length: tuple[int] | None, score_at: tuple[int, ...] | None, lead: str, product: str, out: Path, *,
    force: bool, as_json: bool,
) -> None:  # fmt: skip
    """Draft a definition from raw events.

    DATA is where the events are: a file, a folder, a pattern, a zip, or a database's address (docs/sources.md).
    """
    from features.definition import parse
    from features.rejections import Sieve
    from features.sources.locations import open_source, open_trials
    from training.draft import Options, draft, look
    from training.drafting.drafted import Drafted
    from training.drafting.evidence import weigh

    if out.exists() and not force:
        raise InvalidInput(f"{out} is there already.", hint="Name another file with -o, or overwrite it with --force.")
    options = Options(
        product, lead, conversion, horizon and horizon[0], trial_length and trial_length[0], score_at or ()
    )
    with steps() as step:
        step("reading events")
        sieve = Sieve("events")
        source, table = open_source(data, form), None if trials is None else open_trials(trials, form)
        seen = look(source.table(sieve), None if table is None else table.table(Sieve("trials")), options)
        step("weighing signals")
        drafted = weigh(draft(seen, options), seen.events, seen.trials)
    definition = parse(drafted.text, out.name)
    out.write_text(drafted.text, encoding="utf-8")
    left_out = [f"{one.event}: {one.why}" for one in seen.suspects]
    sources = [one.name for one in (source, table) if one is not None]
    done = Drafted(out, definition, drafted.head, left_out, [str(one) for one in sieve], sources)
    say(done.facts, done.lines, as_json=as_json)


@main.command()
@data_argument
@click.option("-d", "--definition", type=click.Path(path_type=Path), default=Path("pql.yaml"), show_default=True)
@trials_option
@format_option
@click.option("--test-from", help="Trials that start from this date on judge the model, such as 2026-03-01.")
@click.option("--tune", type=click.IntRange(1, 1_000), help="Search for better settings, with so many candidates.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("build/latest"), show_default=True)
@as_json
def train(
    data: str, definition: Path, trials: str | None, form: str | None, test_from: str | None, tune: int | None,
    out: Path, *, as_json: bool,
) -> None:  # fmt: skip
    """Learn, calibrate, judge and register a version; promote it if it is better.

    DATA is where the events are: a file, a folder, a pattern, a zip, or a database's address (docs/sources.md).
    """
    from training.run import run
    from training.tune import Search
    from training.words import facts, summary

    with steps() as step:
        search = None if tune is None else Search(tune)
        outcome = run(data, trials, definition, out, form, test_from, now(), step, search)
    say(facts(outcome), summary(outcome), as_json=as_json)
    if outcome.refusal is not None:
        raise outcome.refusal


@main.command()
@data_argument
@click.option("-d", "--definition", type=click.Path(path_type=Path), default=Path("pql.yaml"), show_default=True)
@trials_option
@format_option
@click.option("--test-from", help="Trials that start from this date on check what was found, such as 2026-03-01.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("build/discover"), show_default=True)
@as_json
def discover(
    data: str, definition: Path, trials: str | None, form: str | None, test_from: str | None, out: Path, *, as_json: bool
) -> None:  # fmt: skip
    """Find which behaviours, thresholds and rules tell converters apart, and check them on later trials.

    DATA is where the events are: a file, a folder, a pattern, a zip, or a database's address (docs/sources.md).
    """
    from training.discovery.run import run

    with steps() as step:
        outcome = run(data, trials, definition, out, form, test_from, now(), step)
    say(outcome.facts, outcome.lines, as_json=as_json)


@main.command()
@data_argument
@trials_option
@format_option
@click.option("--as-of", help="The moment to score at, such as 2026-03-01T09:00:00Z; default: the end of the data.")
@click.option("--reasons", type=click.IntRange(0, 20), default=3, show_default=True, help="How many each way at most.")
@click.option(
    "--explain",
    type=click.Choice(["likely", "all"]),
    default="likely",
    show_default=True,
    help="Reasons for PQLs, those to nurture and those near the cutoff, or for every lead.",
)
@click.option("-o", "out", type=click.Path(path_type=Path), default=Path("leads.parquet"), show_default=True)
@model_option
@receipts_option
@as_json
def score(
    data: str, trials: str | None, form: str | None, as_of: str | None, reasons: int, explain: Literal["likely", "all"],
    out: Path, model: str, receipts: str, *, as_json: bool,
) -> None:  # fmt: skip
    """Score every open trial of a product.

    DATA is where the events are: a file, a folder, a pattern, a zip, or a database's address (docs/sources.md).
    """
    from features.rejections import Sieve
    from features.sources import files
    from features.sources.locations import open_source, open_trials
    from serving.batch import read_for, score_open
    from serving.batch_words import facts, summary
    from serving.receipts import batch_keep
    from serving.scoring.answers import Asked
    from serving.scoring.scorer import Scorer

    sieve = Sieve("trials")
    with model_folder(model) as folder, bar("events, then leads") as tick:
        scorer = Scorer.from_folder(folder)
        table = None if trials is None else open_trials(trials, form).table(sieve)
        read = read_for(scorer, open_source(data, form), table, now(), sieve, tick)
        moment = None if as_of is None else parse_instant(as_of, "--as-of", scorer.builder.definition.timezone)
        leads = score_open(scorer, read, moment, Asked(reasons, explain), batch_keep(receipts, now()), tick)
    files.write(leads, out)
    say(facts(leads, out, scorer, read), summary(leads, out, scorer, read), as_json=as_json)


@main.command()
@click.option("--port", type=click.IntRange(1, 65_535), default=3000, show_default=True)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 is all of them.")
@model_option
@receipts_option
@click.option("--keys", envvar="PQL_KEYS", type=click.Path(path_type=Path), help="File of API keys; see `pql key`.")
@click.option("--open", "everybody", is_flag=True, help="Let everybody in who can reach it, without keys.")
@click.option("--workers", envvar="PQL_WORKERS", type=click.IntRange(1, 64), default=1, show_default=True)
@click.option(
    "--shelf",
    type=click.Path(path_type=Path),
    default=Path("served"),
    show_default=True,
    help="Where registered versions are kept for the service, so that it goes on while the registry is gone.",
)
def serve(
    port: int, host: str, model: str, receipts: str, keys: Path | None, workers: int, shelf: Path, *, everybody: bool
) -> None:  # fmt: skip
    """Answer requests over HTTP, always with the version that is in service.

    A folder is watched, an artifact's or a shelf's; a name with an alias is followed in the registry.
    """
    from serving import launch
    from serving.receipts import folder_named, usable

    launch.check_open(host, keys, everybody=everybody)
    launch.check_address(host, port)
    kept = folder_named(receipts, {})
    told = receipts if kept is None else str(usable(kept))
    aloud = partial(click.echo, err=True)
    served = to_serve(model, shelf, aloud)
    order = launch.Order(served.folder, host, port, told, keys, workers)
    sys.exit(launch.launch(order, served.beside, aloud))


@main.command()
@click.argument("name")
@click.option(
    "--scope", "scopes", multiple=True, default=("score",), show_default=True, help="What it is good for; repeatable."
)
@click.option("--file", "file", type=click.Path(path_type=Path), default=Path("keys.txt"), show_default=True)
@as_json
def key(name: str, scopes: tuple[str, ...], file: Path, *, as_json: bool) -> None:
    """Make an API key for NAME: it is shown this once, and the file keeps what tells it from others.

    Scopes are score, batch, model and metrics.
    """
    from serving.web.keys import new_key

    made, line = new_key(name, scopes)
    _append(file, line)
    lines = [made, f"This is the only time it is shown. Send it as `Authorization: Bearer KEY`; {file} knows its hash."]
    say({"key": made, "name": name, "scopes": scopes, "file": str(file)}, lines, as_json=as_json)


def _append(file: Path, line: str) -> None:
    """Add a line to a file that, where it is made, its owner alone may read."""
    try:
        with os.fdopen(os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "r+", encoding="utf-8") as keys:
            before = "" if keys.read()[-1:] in ("", "\n") else "\n"
            keys.write(f"{before}{line}\n")
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{file}: no key can be written to it ({error}).", "file") from None


@main.command()
@click.argument("name", metavar="ID", required=False)
@click.option("--diff", "other", metavar="ID", help="A second receipt: say what moved the score from the first to it.")
@click.option("--prune", callback=span, metavar="SPAN", help="Delete the days that ended so long ago, such as 90d.")
@receipts_option
@versions_option
@as_json
def receipt(
    name: str | None, other: str | None, prune: tuple[int] | None, receipts: str, model: tuple[str, ...], *, as_json: bool
) -> None:  # fmt: skip
    """Replay what made a score, bit for bit, or say what moved it between two.

    ID is the receipt_id of an answer, or at least its first 6 characters. Exit code 1: it does not replay.
    """
    from serving import receipt_telling as telling

    if (name is None) == (prune is None) or (other and prune):
        raise click.UsageError("Give the ID of a receipt, or --prune with a span.")
    if name is None:
        told = telling.pruned(Path(receipts), now() - (prune or (0,))[0])
    else:
        told = telling.receipt(Path(receipts), name, other, partial(scorer_of, model))
    say(told.facts, told.lines, as_json=as_json)
    sys.exit(0 if told.replays else 1)


@main.command()
@click.argument("lead")
@click.option("--reasons", type=click.IntRange(1, 20), default=3, show_default=True, help="How many each way at most.")
@receipts_option
@versions_option
@as_json
def explain(lead: str, reasons: int, receipts: str, model: tuple[str, ...], *, as_json: bool) -> None:
    """Say what speaks for and against a lead, as it was last answered."""
    from serving import receipt_telling as telling

    told = telling.lead(Path(receipts), lead, reasons, partial(scorer_of, model))
    say(told.facts, told.lines, as_json=as_json)


@main.command()
@as_json
def models(*, as_json: bool) -> None:
    """List the registered versions: figures, which is in service, and why."""
    from training.registry.words import facts, table
    from training.tracking import versions

    found = versions()
    say({"versions": [facts(one) for one in found]}, table(found), as_json=as_json)


@main.command()
@click.argument("version")
@why_option
@click.option("--force", is_flag=True, help="Even where its training ended in a refusal.")
@as_json
def promote(version: str, why: str | None, *, force: bool, as_json: bool) -> None:
    """Put a version into service by hand.

    VERSION is its number, its content name or the beginning of that, as `pql models` lists them.
    """
    from training.registry import changeover
    from training.registry import words as registry_words

    done = changeover.promote(version, why, force=force)
    say(registry_words.change_facts(done), registry_words.change(done), as_json=as_json)


@main.command()
@why_option
@as_json
def rollback(why: str | None, *, as_json: bool) -> None:
    """Go back to the version that was in service before; doing it twice leads back."""
    from training.registry import changeover
    from training.registry import words as registry_words

    done = changeover.rollback(why)
    say(registry_words.change_facts(done), registry_words.change(done), as_json=as_json)


def now() -> int:
    """Return this moment in microseconds since 1970 UTC."""
    return time_ns() // 1_000


@contextmanager
def steps() -> Iterator[Callable[[str], None]]:
    """Yield a function that says which step runs now; on a terminal a spinner turns beside it."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("starting", total=None)

        def step(text: str) -> None:
            progress.update(task, description=text)
            if not progress.console.is_terminal:
                click.echo(text, err=True)

        yield step


@contextmanager
def bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a function that takes (done, in all) and moves a progress bar."""
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total or None)


def say(facts: dict[str, Any], lines: list[str], *, as_json: bool) -> None:
    """Print one JSON object, or the lines."""
    click.echo(json.dumps(facts, default=str) if as_json else "\n".join(lines))


if __name__ == "__main__":
    main()
