"""The service against bare routes, the obvious BentoML service and MLflow's server: `python -m benchmarks.serving PAGE`."""

from __future__ import annotations

import argparse
import contextlib
import gc
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks import serving_peers as peers
from benchmarks.results import put
from benchmarks.serving_model import World, world
from benchmarks.serving_page import BATCHED, OUR_WORDS, SCORE, SCORES_ONLY, Found, section
from benchmarks.serving_peers import Peer, Posted
from benchmarks.serving_process import Load, Server, machine_cpu
from benchmarks.serving_rounds import ROUNDS, SECONDS, Beside, Side, beside
from benchmarks.serving_single import Refusing, Thousand, loaded, mapped, overload, starts, thousand

Servers = dict[str, Server]


@dataclass(frozen=True)
class Bench:
    """A version, its leads in the words of each server, and where all of it lies."""

    made: World
    posted: Posted
    folder: Path
    model: Path
    load: Load
    rounds: int
    seconds: float

    @classmethod
    def made_in(cls, folder: Path, load: Load, rounds: int, seconds: float) -> Bench:
        """Make the version and write everything into a folder."""
        made = world()
        model = made.scorer.artifact.save(folder / "model")
        (folder / "booster.txt").write_text(made.scorer.artifact.booster_text, encoding="utf-8")
        return cls(made, Posted.written(made, folder / "bodies"), folder, model, load, rounds, seconds)

    def service(self, name: str = peers.OURS, **settings: str) -> Peer:
        """Return this service."""
        return peers.ours(self.model, self.posted.ready, self.folder, name, **settings)

    def peers(self) -> list[Peer]:
        """Return the service, the same with receipts, and those that it is held against."""
        booster, posted = self.folder / "booster.txt", self.posted
        return [
            # Side by side in every round, since their ratio is what matters most.
            self.service(), peers.bare(self.model, posted.ready),
            self.service(peers.RECEIPTS, PQL_RECEIPTS=str(self.folder / "receipts")), peers.obvious(booster, posted.records),
            peers.mlflow(booster, posted.split, self.folder),
        ]  # fmt: skip

    def sides(self, servers: Servers, all_peers: Iterable[Peer]) -> Iterator[Side]:
        """Yield what is measured: each server at its own route, and some at others too."""
        known, posted = {peer.name: peer for peer in all_peers}, self.posted
        yield from (Side(peer, servers[name]) for name, peer in known.items())
        for name, path, bodies, said in (
            (peers.OURS, "/score", posted.raw, SCORE),
            (peers.BARE, "/raw", posted.ready, SCORES_ONLY),
            (peers.BARE, "/answers", posted.ready, OUR_WORDS),
            (peers.OBVIOUS, "/score_many", posted.records, BATCHED),
        ):
            yield Side(known[name].at(path, bodies, said), servers[name])

    def together(self) -> tuple[Beside, dict[str, float], float, list[str]]:
        """Return what came of all sides, the memory of each server, the CPU seconds of all, and what the service loaded."""
        chosen = self.peers()
        with self._up(chosen) as servers:
            found = beside(self.load, self.sides(servers, chosen), tick, self.rounds, self.seconds)
            memory = {name: server.megabytes() for name, server in servers.items()}
            spent = sum(server.cpu() for server in servers.values())
            return found, memory, spent, mapped(servers[peers.OURS])

    def several(self) -> Beside:
        """Return what came of one worker beside two."""
        chosen = [self.service(), self.service(peers.WORKERS, PQL_WORKERS="2")]
        with self._up(chosen) as servers:
            sides = [Side(peer, servers[peer.name]) for peer in chosen]
            return beside(self.load, sides, tick, self.rounds, self.seconds)

    def alone(self) -> tuple[dict[int, Thousand], Refusing]:
        """Return what came of many leads in one request, and of more requests than may wait."""
        service = self.service()
        with self._up([service]) as servers:
            server = servers[service.name]
            thousands = {reasons: thousand(self.made, server, reasons) for reasons in (3, 0)}
            return thousands, overload(server, service.path, service.bodies)

    @contextlib.contextmanager
    def _up(self, chosen: Iterable[Peer]) -> Iterator[Servers]:
        servers: Servers = {}
        try:
            for place, peer in enumerate(chosen):
                servers[peer.name] = peer.start(self.folder / f"server{place}")
                servers[peer.name].ready(peer.ready)
            yield servers
        finally:
            for server in servers.values():
                server.stop()


def measured(folder: Path, rounds: int, seconds: float) -> tuple[Found, float]:
    """Return all figures, and the CPU seconds of the servers and the load that were measured together."""
    tick("making the version and its leads")
    load = Load()
    try:
        bench = Bench.made_in(folder, load, rounds, seconds)
        # The bench scores in process too, and should not walk through its own large heap while it does.
        gc.collect()
        gc.freeze()
        before, began = machine_cpu(), time.perf_counter()
        together, memory, spent, inside = bench.together()
        spent += load.cpu()
        others = (machine_cpu() - before - spent) / (time.perf_counter() - began)
        several = bench.several()
        per_request = load.cpu() / load.answers * 1e6
    finally:
        load.stop()
    tick("many leads in one request; overload; starts")
    thousands, refusing = bench.alone()
    ready = starts(bench.service(), folder)
    found = Found(together, several, refusing, thousands, ready, loaded(folder), inside, memory, per_request, others)
    return found, spent


def tick(told: str) -> None:
    """Say how far it has come."""
    print(told, flush=True)


def main() -> None:
    """Measure everything and write the section."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("page", type=Path)
    words.add_argument("--rounds", type=int, default=ROUNDS)
    words.add_argument("--seconds", type=float, default=SECONDS, help="of each burst")
    asked = words.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found, spent = measured(Path(folder), asked.rounds, asked.seconds)
    text = section(found, spent)
    put(asked.page, text)
    print(text)


if __name__ == "__main__":
    main()
