"""The measurements: each function yields rows of the table."""

import json
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import servers
from load import Load, Rates, get, measure_in_turns, median, post, ratios, save_and_get_previews
from peers import Peers
from records import fill
from rendering import rendering_processes

PREVIEW = f"/1/buckets/{servers.BUCKET}/images/ID_SIZE"
THUMBOR_PREVIEW = "/unsafe/fit-in/SIZExSIZE/ID"
FEW, MANY = 10_000, 1_000_000
SLOW_DISK_CLIENTS = 32
ONE_THREAD = {"LUNA_IMAGE_STORE__HTTP__THREADS": "1", "LUNA_IMAGE_STORE__HTTP__CONNECTIONS": "100"}


@dataclass(frozen=True)
class Row:
    """A row of the table. `goal` is the lower limit of the value, or the upper limit if `is_upper_limit`."""

    title: str
    image: str
    unit: str
    rates: Rates
    goal: float | None = None
    is_upper_limit: bool = False
    ratios: list[float] = field(default_factory=list)

    @property
    def value(self) -> float:
        """Return the median ratio, or the median rate if there are no ratios."""
        return median(self.ratios or next(iter(self.rates.values())))

    @property
    def is_met(self) -> bool | None:
        """Report whether the value meets the goal; None if there is no goal."""
        if self.goal is None:
            return None
        return self.value <= self.goal if self.is_upper_limit else self.value >= self.goal


@dataclass(frozen=True)
class Bench:
    """The inputs of all measurements."""

    peers: Peers
    images: dict[str, Path]
    work: Path
    rounds: int
    seconds: int
    records: int


def row(title: str, image: str, rates: Rates, measured: str, reference: str, goal: float, unit: str = "images/s") -> Row:
    """Return a row with the ratio of two programs."""
    selected = {name: rates[name] for name in (measured, reference)}
    return Row(title, image, unit, selected, goal, unit == "ms", ratios(rates, measured, reference))


def saving(bench: Bench) -> Iterator[Row]:
    """Compare saves with rendering alone, saves through nginx with direct saves, and saves with Node."""
    for name, rendering_goal, node_goal in (("face", 0.50, 3.0), ("photo", 0.60, 2.5), ("full-hd", 0.68, 1.8)):
        rates = _saving(bench, bench.images[name], bench.work / f"save-{name}")
        yield row("saves, relative to rendering alone", name, rates, "service", "rendering", rendering_goal)
        yield row("saves through nginx, relative to direct", name, rates, "nginx", "service", 0.9)
        yield row("saves, relative to Node", name, rates, "service", "node", node_goal)


def chains(bench: Bench) -> Iterator[Row]:
    """Compare a save with GETs of the four previews with thumbor."""
    for name, goal in (("face", 5.0), ("full-hd", 3.0)):
        rates = _chains(bench, bench.images[name], bench.work / f"chain-{name}")
        yield row("save and four previews, relative to thumbor", name, rates, "service", "thumbor", goal)


def fetching(bench: Bench) -> Iterator[Row]:
    """Compare GET with an application that has the same bytes in memory."""
    work = bench.work / "fetch"
    folder = work / "files"
    folder.mkdir(parents=True)
    with servers.service(work / "service") as service:
        saved = _save(service.images, bench.images["face"])
        paths = {"original": saved["url"], "preview 160": saved["url160"]}
        for name, path in paths.items():
            (folder / name.replace(" ", "-")).write_bytes(urllib.request.urlopen(service.url + path).read())
        with servers.memory(work / "memory", folder) as same, servers.memory_under_gunicorn(folder) as plain:
            urls = {name: service.url + path for name, path in paths.items()}
            urls |= {f"{name}, plain": f"{plain.url}/{name.replace(' ', '-')}" for name in paths}
            urls |= {f"{name}, same": f"{same.url}/{name.replace(' ', '-')}" for name in paths}
            rates = measure_in_turns(bench.rounds, {name: _get_rate(url, bench.seconds) for name, url in urls.items()})
    for name in paths:
        for kind, workers in (("plain", "default gunicorn"), ("same", "same workers")):
            selected = {"service": rates[name], "memory": rates[f"{name}, {kind}"]}
            title = f"GET, relative to Falcon from memory, {workers}"
            yield row(title, f"face, {name}", selected, "service", "memory", 0.9, "requests/s")


def slow_disks(bench: Bench) -> Iterator[Row]:
    """Compare eight threads per worker, which share syncs, with one thread per worker on a disk with slow syncs."""
    image = bench.images["face"]
    for milliseconds, goal in ((1, 1.15), (5, 2.0), (10, 3.5)):
        environment = servers.slow_disk(milliseconds, bench.work)
        with ExitStack() as stack:
            turns = {}
            for name, settings in (("threads", {}), ("one thread", ONE_THREAD)):
                root = bench.work / f"slow-{milliseconds}-{name.replace(' ', '-')}"
                url = stack.enter_context(servers.service(root, {**environment, **settings})).images
                turns[name] = lambda url=url: post(url, image, bench.seconds, SLOW_DISK_CLIENTS).rate
            rates = measure_in_turns(bench.rounds, turns)
        yield row(f"saves, each sync {milliseconds} ms longer, relative to one thread per worker", "face", rates, *turns, goal)


def uploads(bench: Bench) -> Iterator[Row]:
    """Measure the latency of large uploads, and the peak memory of a worker."""
    names = ("png", "12mp")
    with ExitStack() as stack:
        running = {name: stack.enter_context(servers.service(bench.work / f"upload-{name}")) for name in names}
        loads: dict[str, list[Load]] = {name: [] for name in names}
        measure_in_turns(
            bench.rounds, {name: _latency_measurement(loads[name], running[name].images, bench, name) for name in names}
        )
        peaks = {name: server.peak_memory() for name, server in running.items()}
    for name in names:
        yield Row("save latency, p50", name, "ms", {"service": [load.p50 for load in loads[name]]})
        yield Row("save latency, p99", name, "ms", {"service": [load.p99 for load in loads[name]]})
        yield Row("peak memory of a worker", name, "MiB", {"service": [peaks[name]]}, 200, is_upper_limit=True)


def many_records(bench: Bench) -> Iterator[Row]:
    """Compare the save latency in a storage of many records with a storage of few."""
    with ExitStack() as stack:
        loads: dict[int, list[Load]] = {}
        turns = {}
        for count in (bench.records, min(FEW, bench.records)):
            root = bench.work / f"records-{count}"
            server = stack.enter_context(servers.service(root))
            _save(server.images, bench.images["face"])
            fill(root, servers.BUCKET, count)
            loads[count] = []
            turns[f"{count:,} records"] = _latency_measurement(loads[count], server.images, bench, "face")
        measure_in_turns(bench.rounds, turns)
    rates = {name: [load.p50 for load in measured] for name, measured in zip(turns, loads.values(), strict=True)}
    yield row("save latency in a large storage, p50, relative to a small one", "face", rates, *rates, 1.1, "ms")


def _saving(bench: Bench, image: Path, work: Path) -> Rates:
    data = image.read_bytes()
    with ExitStack() as stack:
        rendering = stack.enter_context(rendering_processes())
        direct = stack.enter_context(servers.service(work / "direct")).images
        nginx = stack.enter_context(servers.service_behind_nginx(work / "nginx")).images
        nodes = [stack.enter_context(servers.node(work / f"node{threads}", bench.peers.node, threads)) for threads in (1, 2)]
        node = _faster([f"{server.url}/images" for server in nodes], image)
        return measure_in_turns(
            bench.rounds,
            {
                "service": lambda: post(direct, image, bench.seconds).rate,
                "rendering": lambda: rendering(data, bench.seconds),
                "nginx": lambda: post(nginx, image, bench.seconds).rate,
                "node": lambda: post(node, image, bench.seconds).rate,
            },
        )


def _chains(bench: Bench, image: Path, work: Path) -> Rates:
    with servers.service(work / "service") as service, servers.thumbor(work / "thumbor", bench.peers.thumbor) as thumbor:
        return measure_in_turns(
            bench.rounds,
            {
                "service": lambda: save_and_get_previews(service.images, image, PREVIEW, bench.seconds),
                "thumbor": lambda: save_and_get_previews(f"{thumbor.url}/image", image, THUMBOR_PREVIEW, bench.seconds),
            },
        )


def _faster(urls: list[str], image: Path) -> str:
    """Return the URL of the server that saves this image fastest."""
    rates = measure_in_turns(2, {url: lambda url=url: post(url, image, 1).rate for url in urls})
    return max(urls, key=lambda url: median(rates[url]))


def _get_rate(url: str, seconds: int) -> Callable[[], float]:
    return lambda: get(url, seconds).rate


def _latency_measurement(loads: list[Load], url: str, bench: Bench, name: str) -> Callable[[], float]:
    def measure() -> float:
        loads.append(post(url, bench.images[name], bench.seconds, connections=2))
        return loads[-1].rate

    return measure


def _save(url: str, image: Path) -> dict[str, str]:
    request = urllib.request.Request(url, image.read_bytes(), {"Content-Type": "image/jpeg"})
    with urllib.request.urlopen(request) as response:
        return dict(json.load(response))
