"""What is measured, one function per question; each gives the rows of the table that answer it."""

import json
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import servers
from codec import bare
from load import Load, Rates, chain, get, median, post, ratios, take_turns
from peers import Peers
from records import fill

PREVIEW = f"/1/buckets/{servers.BUCKET}/images/ID_SIZE"
THUMBOR_PREVIEW = "/unsafe/fit-in/SIZExSIZE/ID"
FEW, MANY = 10_000, 1_000_000
SLOW_DISK_CLIENTS = 32
ONE_THREAD = {"LUNA_IMAGE_STORE__HTTP__THREADS": "1", "LUNA_IMAGE_STORE__HTTP__CONNECTIONS": "100"}


@dataclass(frozen=True)
class Row:
    """A line of the table. `goal` is the least that the median ratio may be, or the `most`; without ratios, the median rate."""

    question: str
    picture: str
    unit: str
    rates: Rates
    goal: float | None = None
    most: bool = False
    ratios: list[float] = field(default_factory=list)

    @property
    def value(self) -> float:
        """Give what is compared with the goal: the median ratio, or the median itself where there is nothing to divide by."""
        return median(self.ratios or next(iter(self.rates.values())))

    @property
    def is_met(self) -> bool | None:
        """Tell whether the goal is met; None where there is none."""
        if self.goal is None:
            return None
        return self.value <= self.goal if self.most else self.value >= self.goal


@dataclass(frozen=True)
class Bench:
    """What all measurements need."""

    peers: Peers
    pictures: dict[str, Path]
    work: Path
    rounds: int
    seconds: int
    records: int


def row(question: str, picture: str, rates: Rates, ours: str, theirs: str, goal: float, unit: str = "pictures/s") -> Row:
    """Make the row that compares two of the contenders."""
    chosen = {name: rates[name] for name in (ours, theirs)}
    return Row(question, picture, unit, chosen, goal, unit == "ms", ratios(rates, ours, theirs))


def saving(bench: Bench) -> Iterator[Row]:
    """Compare saving with the bare codec, through nginx with direct, and with Node."""
    for name, of_codec, of_node in (("face", 0.50, 3.0), ("photo", 0.60, 2.5), ("full-hd", 0.68, 1.8)):
        rates = _saving(bench, bench.pictures[name], bench.work / f"save-{name}")
        yield row("saved, of the bare codec", name, rates, "service", "codec", of_codec)
        yield row("saved through nginx, of direct", name, rates, "nginx", "service", 0.9)
        yield row("saved, times Node", name, rates, "service", "node", of_node)


def chains(bench: Bench) -> Iterator[Row]:
    """Compare a save followed by fetching the four previews with thumbor."""
    for name, goal in (("face", 5.0), ("full-hd", 3.0)):
        rates = _chains(bench, bench.pictures[name], bench.work / f"chain-{name}")
        yield row("saved and four previews fetched, times thumbor", name, rates, "service", "thumbor", goal)


def fetching(bench: Bench) -> Iterator[Row]:
    """Compare fetching with an application that has the same bytes in memory."""
    work = bench.work / "fetch"
    folder = work / "files"
    folder.mkdir(parents=True)
    with servers.service(work / "service") as service:
        saved = _save(service.images, bench.pictures["face"])
        paths = {"original": saved["url"], "preview 160": saved["url160"]}
        for name, path in paths.items():
            (folder / name.replace(" ", "-")).write_bytes(urllib.request.urlopen(service.url + path).read())
        with servers.memory(work / "memory", folder) as same, servers.memory_under_gunicorn(folder) as plain:
            urls = {name: service.url + path for name, path in paths.items()}
            urls |= {f"{name}, plain": f"{plain.url}/{name.replace(' ', '-')}" for name in paths}
            urls |= {f"{name}, same": f"{same.url}/{name.replace(' ', '-')}" for name in paths}
            rates = take_turns(bench.rounds, {name: _getter(url, bench.seconds) for name, url in urls.items()})
    for name in paths:
        for kind, workers in (("plain", "gunicorn's workers"), ("same", "the same workers")):
            chosen = {"service": rates[name], "memory": rates[f"{name}, {kind}"]}
            question = f"fetched, of a Falcon application out of memory in {workers}"
            yield row(question, f"face, {name}", chosen, "service", "memory", 0.9, "requests/s")


def slow_disks(bench: Bench) -> Iterator[Row]:
    """Compare saving with threads, which share syncs, with one thread per worker, where each sync is slow."""
    picture = bench.pictures["face"]
    for milliseconds, goal in ((1, 1.15), (5, 2.0), (10, 3.5)):
        environment = servers.slow_disk(milliseconds, bench.work)
        with ExitStack() as stack:
            turns = {}
            for name, settings in (("threads", {}), ("one thread", ONE_THREAD)):
                root = bench.work / f"slow-{milliseconds}-{name.replace(' ', '-')}"
                url = stack.enter_context(servers.service(root, {**environment, **settings})).images
                turns[name] = lambda url=url: post(url, picture, bench.seconds, SLOW_DISK_CLIENTS).rate
            rates = take_turns(bench.rounds, turns)
        yield row(f"saved, each sync {milliseconds} ms longer, times one thread per worker", "face", rates, *turns, goal)


def uploads(bench: Bench) -> Iterator[Row]:
    """Measure how long large uploads take, and how much memory a worker needs for them."""
    names = ("png", "12mp")
    with ExitStack() as stack:
        running = {name: stack.enter_context(servers.service(bench.work / f"upload-{name}")) for name in names}
        seen: dict[str, list[Load]] = {name: [] for name in names}
        take_turns(bench.rounds, {name: _noter(seen[name], running[name].images, bench, name) for name in names})
        peaks = {name: server.peak_memory() for name, server in running.items()}
    for name in names:
        yield Row("time to save, p50", name, "ms", {"service": [load.p50 for load in seen[name]]})
        yield Row("time to save, p99", name, "ms", {"service": [load.p99 for load in seen[name]]})
        yield Row("peak memory of a worker", name, "MiB", {"service": [peaks[name]]}, 200, most=True)


def many_records(bench: Bench) -> Iterator[Row]:
    """Compare the time to save in a store of many records with one of few."""
    with ExitStack() as stack:
        seen: dict[int, list[Load]] = {}
        turns = {}
        for count in (bench.records, min(FEW, bench.records)):
            root = bench.work / f"records-{count}"
            server = stack.enter_context(servers.service(root))
            _save(server.images, bench.pictures["face"])
            fill(root, servers.BUCKET, count)
            seen[count] = []
            turns[f"{count:,} records"] = _noter(seen[count], server.images, bench, "face")
        take_turns(bench.rounds, turns)
    rates = {name: [load.p50 for load in loads] for name, loads in zip(turns, seen.values(), strict=True)}
    yield row("time to save in a large store, p50, times that in a small one", "face", rates, *rates, 1.1, "ms")


def _saving(bench: Bench, picture: Path, work: Path) -> Rates:
    data = picture.read_bytes()
    with ExitStack() as stack:
        codec = stack.enter_context(bare())
        direct = stack.enter_context(servers.service(work / "direct")).images
        nginx = stack.enter_context(servers.service_behind_nginx(work / "nginx")).images
        nodes = [stack.enter_context(servers.node(work / f"node{threads}", bench.peers.node, threads)) for threads in (1, 2)]
        node = _faster([f"{server.url}/images" for server in nodes], picture)
        return take_turns(
            bench.rounds,
            {
                "service": lambda: post(direct, picture, bench.seconds).rate,
                "codec": lambda: codec(data, bench.seconds),
                "nginx": lambda: post(nginx, picture, bench.seconds).rate,
                "node": lambda: post(node, picture, bench.seconds).rate,
            },
        )


def _chains(bench: Bench, picture: Path, work: Path) -> Rates:
    with servers.service(work / "service") as service, servers.thumbor(work / "thumbor", bench.peers.thumbor) as thumbor:
        return take_turns(
            bench.rounds,
            {
                "service": lambda: chain(service.images, picture, PREVIEW, bench.seconds),
                "thumbor": lambda: chain(f"{thumbor.url}/image", picture, THUMBOR_PREVIEW, bench.seconds),
            },
        )


def _faster(urls: list[str], picture: Path) -> str:
    """Choose the peer's setting that serves this picture best."""
    rates = take_turns(2, {url: lambda url=url: post(url, picture, 1).rate for url in urls})
    return max(urls, key=lambda url: median(rates[url]))


def _getter(url: str, seconds: int) -> Callable[[], float]:
    return lambda: get(url, seconds).rate


def _noter(seen: list[Load], url: str, bench: Bench, name: str) -> Callable[[], float]:
    def measure() -> float:
        seen.append(post(url, bench.pictures[name], bench.seconds, connections=2))
        return seen[-1].rate

    return measure


def _save(url: str, picture: Path) -> dict[str, str]:
    request = urllib.request.Request(url, picture.read_bytes(), {"Content-Type": "image/jpeg"})
    with urllib.request.urlopen(request) as answer:
        return dict(json.load(answer))
