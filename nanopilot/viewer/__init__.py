"""The page over a log, stored or still written: `nanopilot view LOG`. It reads one file and can change nothing.

In: a ViewConfig. Out: a small web server until Ctrl-C, and an exit code. `index` finds things in the log, `events` says
what happened, `server` answers the browser, `static/` is the page: plain HTML, CSS and JavaScript modules, which need
no build step and no internet.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import webbrowser
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from time import sleep

from nanopilot.log import LogError
from nanopilot.viewer.index import Index
from nanopilot.viewer.server import Server
from nanopilot.viewer.to_rerun import export

POLL = 0.2  # s between looks at a log that may grow: half of what its writer takes to fill a chunk


@dataclass(frozen=True)
class ViewConfig:
    """What to show, and to whom."""

    log: Path
    host: str = "127.0.0.1"
    port: int = 8770
    open: bool = False  # the browser too
    wait: bool = False  # for a log that is not there yet
    rerun: bool = False  # no page: write the log as a Rerun recording beside it

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port must be from 0 to 65535, not {self.port}")
        if not self.host:
            raise ValueError("host must not be empty; 0.0.0.0 listens on every address")


def view(config: ViewConfig, stop: Event | None = None) -> int:
    """Serve until Ctrl-C (or `stop`). Raises LogError for what is no log or an empty one, ValueError for an address that can't be had."""
    if config.rerun:
        out = config.log.with_suffix(".rrd")
        print(f"{out}: {export(config.log, out)} steps")
        return 0
    stop = stop or Event()
    index = Index(config.log)
    if not config.wait or config.log.exists():
        while index.grow() and not index.topics:
            pass
        if not config.wait and not index.topics:
            raise LogError(f"the log {config.log} holds no messages" + ("" if index.whole else " (yet: --wait waits for them)"))
    with Server(config.host, config.port, index) as server:
        print(f"{config.log} is shown on {server.url} until Ctrl-C", flush=True)
        if config.host not in ("127.0.0.1", "localhost", "::1"):
            print("nanopilot: others on the network can see this log", file=sys.stderr)
        Thread(target=server.serve_forever, kwargs={"poll_interval": POLL}, daemon=True).start()
        if config.open:
            webbrowser.open(server.url)
        with suppress(KeyboardInterrupt):
            follow(index, stop)
        server.shutdown()
    return 0


class Beside:
    """The page over a drive that is under way, in a process of its own so that it takes no time from the drive. A context manager."""

    def __init__(self, port: int = ViewConfig.port) -> None:
        self._port = port
        self._process: subprocess.Popen | None = None

    def show(self, log: Path) -> None:
        """Show this log, which is about to be written, in place of the last one. One from an earlier drive is removed."""
        self.close()
        log.unlink(missing_ok=True)
        if not _free(self._port):
            self._port = 0
        self._process = subprocess.Popen([sys.executable, "-m", "nanopilot", "view", str(log), "--wait", "--port", str(self._port)])

    def wait(self) -> None:
        """Until the page ends, which is at Ctrl-C."""
        if self._process is not None and self._process.poll() is None:
            print("the page stays until Ctrl-C", flush=True)
            self._process.wait()

    def close(self) -> None:
        """End the page; may be called twice."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def __enter__(self) -> Beside:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def follow(index: Index, stop: Event) -> None:
    """Take in the log as it grows, until `stop`. A log that goes away is waited for."""
    while not stop.is_set():
        with suppress(LogError):
            while not stop.is_set() and index.grow():
                pass
        sleep(POLL)  # not stop.wait: Ctrl-C inside its lock ends in a traceback


def _free(port: int) -> bool:
    try:
        socket.create_server((ViewConfig.host, port)).close()
    except OSError:
        return False
    return True
