"""gunicorn's master, made to stop, reload and upgrade without losing a request.

SIGTERM: all workers know at once; requests are still taken for HTTP.DRAIN_TIME, then the running ones end.

SIGHUP: the command is tried out as it is installed now, with the settings of now. If it would start, the master becomes it: the
same process runs the new code. It takes over the listening sockets, and the workers, which go when the new ones serve.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from gunicorn import arbiter
from gunicorn.sock import create_sockets
from gunicorn.systemd import sd_notify
from gunicorn.workers.workertmp import WorkerTmp

from luna_image_store.phase import Phase

HANDOVER = "LUNA_IMAGE_STORE_HANDOVER"
SIGNALS = {*arbiter.Arbiter.SIGNALS, signal.SIGCHLD}
ENDS = {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT}
TRIAL_SECONDS = 60
LATE_SECONDS = 2  # that a worker may take to end, beyond what its requests may take


@dataclass(frozen=True, slots=True)
class Handover:
    """What a master leaves to the one that it becomes; descriptors stay open over the change."""

    pid: int
    sockets: list[int]
    are_given: bool  # the sockets are somebody else's: systemd's
    workers: list[tuple[int, int, int]]  # process, age, descriptor of the heartbeat

    @classmethod
    def find(cls, environment: Mapping[str, str]) -> "Handover | None":
        """Read what was left to this process; another's that its child inherited does not count."""
        handover = cls(**json.loads(environment[HANDOVER])) if HANDOVER in environment else None
        return handover if handover and handover.pid == os.getpid() else None


class Heartbeat(WorkerTmp):  # type: ignore[misc]  # gunicorn has no types
    """The heartbeat file of a worker, opened before."""

    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)
        self._tmp = os.fdopen(descriptor, "r+b", 0)


class FormerWorker:
    """A worker of before the reload: its process, to end it, and its heartbeat, to see whether it hangs."""

    is_up = True
    aborted = False

    def __init__(self, pid: int, age: int, heartbeat: int) -> None:
        self.pid = pid
        self.age = age
        self.tmp = Heartbeat(heartbeat)


class Arbiter(arbiter.Arbiter):  # type: ignore[misc]
    """The master. `app` has the phase, which all workers see, and the time to drain."""

    def __init__(self, app: Any) -> None:
        super().__init__(app)
        self._phase = app.phase
        self._leaving: dict[int, float] = {}  # processes that were told to end, and until when
        self._drained: float | None = None  # when it will be

    def start(self) -> None:
        """Open the listening sockets, or take those that were handed over."""
        if handover := Handover.find(self.cfg.env_orig):
            self._take_over(handover)
        super().start()
        if self.systemd:
            self.log.info("The socket was handed over; HTTP.BIND is not used")

    def init_signals(self) -> None:
        """Take the signals that came while the master became another."""
        super().init_signals()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def signal(self, sig: int, frame: object) -> None:
        """Queue a signal. Of the end the workers know at once: the master may be busy."""
        if sig in ENDS:
            self._phase.set(max(self._phase.get(), Phase.DRAINING))
        super().signal(sig, frame)

    def handle_term(self) -> None:
        """Stop, after a while in which balancers turn away."""
        self._phase.set(Phase.DRAINING)  # again: the loop may have been about to set another when the signal came
        seconds = self.app.drain_time
        if self._drained is not None or not seconds:
            sd_notify("STOPPING=1", self.log)
            raise StopIteration
        self.log.info("Draining for %d s; another SIGTERM ends it", seconds)
        self._drained = time.monotonic() + seconds

    def handle_hup(self) -> None:
        """Become what the command is now, if that would start."""
        if self._phase.get() >= Phase.DRAINING:  # it has been told to end
            return
        sd_notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}", self.log)
        if fault := self._fault_of_trial():
            self.log.error("the settings stay as they are: %s", fault)
        else:
            self._become_another()
        sd_notify("READY=1", self.log)

    def handle_usr2(self) -> None:
        """Do nothing: gunicorn would start a second master, whose sockets the end of this one would close to new connections."""
        self.log.warning("SIGUSR2 does nothing; SIGHUP brings the new version")

    def manage_workers(self) -> None:
        """Keep as many workers as are wanted; those of before a reload go when all others serve."""
        if self._drained is not None and time.monotonic() > self._drained:
            sd_notify("STOPPING=1", self.log)
            raise StopIteration
        self.reap_workers()
        for _ in range(self.num_workers - len(self._workers()[1])):
            self.spawn_worker()
        former, own = self._workers()
        if all(worker.is_up for worker in own):
            self._phase.set(max(self._phase.get(), Phase.SERVING))
            self._let_go(former + own[: -self.num_workers])

    def spawn_worker(self) -> None:
        """Start a worker, to which no signal comes before it can heed it."""
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            super().spawn_worker()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def stop(self, graceful: bool = True) -> None:
        """End the workers, which first take what waits in the queues of sockets that are closed for good."""
        if not self.systemd:
            self._phase.set(Phase.CLOSING)
            for listener in self.LISTENERS:
                listener.listen(0)  # or the queue would never be empty under load
        super().stop(graceful)

    def _workers(self) -> tuple[list[Any], list[Any]]:
        """Give the workers of before the reload and the others, each with the oldest first."""
        workers = sorted(self.WORKERS.values(), key=lambda worker: int(worker.age))
        former = [worker for worker in workers if isinstance(worker, FormerWorker)]
        return former, workers[len(former) :]

    def _let_go(self, workers: list[Any]) -> None:
        """Let workers end, and end those that take too long, such as with a client that reads slowly."""
        now = time.monotonic()
        for worker in workers:
            if worker.pid not in self._leaving:
                self._leaving[worker.pid] = now + self.cfg.graceful_timeout + LATE_SECONDS
                self.kill_worker(worker.pid, signal.SIGTERM)
            elif now > self._leaving[worker.pid]:
                self.kill_worker(worker.pid, signal.SIGKILL)

    def _take_over(self, handover: Handover) -> None:
        self.systemd = handover.are_given
        self.LISTENERS = create_sockets(self.cfg, self.log, handover.sockets)
        self.WORKERS = {pid: FormerWorker(pid, age, heartbeat) for pid, age, heartbeat in handover.workers}
        self.worker_age = max((worker.age for worker in self.WORKERS.values()), default=0)
        self._phase.set(Phase.SERVING)  # for a reload is no start: the old workers serve

    def _fault_of_trial(self) -> str:
        """Run the command with the option to check only; give its last words if it fails."""
        try:
            subprocess.run(
                [*_command(), "--check"],
                env=self.cfg.env_orig,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=TRIAL_SECONDS,
                check=True,
            )
        except subprocess.CalledProcessError as ex:
            lines = ex.stderr.decode(errors="replace").strip().splitlines() or [str(ex)]
            return str(lines[-1]).removeprefix("luna-image-store: ")
        except (OSError, subprocess.TimeoutExpired) as ex:
            return str(ex)
        return ""

    def _become_another(self) -> None:
        """Run the command in place of this program, unless it has been told to end. Signals wait until it can heed them."""
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # first: what is queued here is lost with this program
        try:
            if self._phase.get() < Phase.DRAINING:
                self._execute()
        except OSError as ex:
            self.log.error("the settings stay as they are: %s", ex)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def _execute(self) -> None:
        descriptors = [listener.fileno() for listener in self.LISTENERS]
        workers = [(pid, worker.age, worker.tmp.fileno()) for pid, worker in self.WORKERS.items()]
        for descriptor in (*descriptors, *(heartbeat for _, _, heartbeat in workers)):
            os.set_inheritable(descriptor, True)
        handover = Handover(os.getpid(), descriptors, self.systemd, workers)
        environment = {**self.cfg.env_orig, HANDOVER: json.dumps(asdict(handover))}
        os.execve(_command()[0], _command(), environment)  # noqa: S606  # no shell: it is this very command


def _command() -> list[str]:
    """Give the command line of this process. A script names its interpreter itself: that of a new version may be another one."""
    return sys.argv if os.access(sys.argv[0], os.X_OK) else [sys.executable, *sys.orig_argv[1:]]
