"""Where everything in a log is: which message lies in which chunk, at what time, without keeping the messages.

In: the path of an MCAP log as `log` writes it, in chunks, whole, cut off at any byte, or still growing. Out: the times
of its steps, its speeds and events, and the messages of one step as the JSON text they were written in. `grow` takes
in one whole chunk a call and may be called for ever; a file that was begun anew starts the index anew (`generation`).
It keeps 16 bytes a message and CACHED unpacked chunks. A chunk that fails its checksum ends the log there.
Messages outside chunks and attachments are passed over. Source: mcap.dev/spec.
"""

from __future__ import annotations

import base64
import json
import os
import struct
from array import array
from bisect import bisect_right
from collections import OrderedDict
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from threading import RLock
from time import time
from typing import Any

from mcap.data_stream import ReadDataStream
from mcap.opcode import Opcode
from mcap.records import Channel, Chunk, Metadata, Schema
from mcap.stream_reader import MAGIC_SIZE, get_chunk_data_stream

from nanopilot.log import MAGIC, NS, LogError
from nanopilot.viewer.events import Events, Facts, watcher

CACHED = 24  # unpacked chunks kept, half a megabyte each: ten seconds of a drive
LARGEST = 256 << 20  # bytes of a record; a larger one is taken for a torn length
SPEED_EVERY = 0.2  # s between points of the speed curve: a screen has no more
LIVE_FOR = 3.0  # s after its file was last written that an unfinished log counts as live
FROZEN = 0.3  # s: an older picture is not shown as that of now, guess
SAME = 500_000  # ns: a time that has been through JSON and back
HEAD = struct.Struct("<BQ")  # opcode, length
MESSAGE = struct.Struct("<HIQQ")  # channel, sequence, log time, publish time


@dataclass
class Topic:
    """The messages of one topic, in order of time: their times in ns, and chunk number << 32 | offset of the record."""

    name: str
    picture: bool
    facts: Facts | None
    times: array = field(default_factory=lambda: array("q"))
    places: array = field(default_factory=lambda: array("q"))

    @property
    def stays(self) -> bool:
        """Whether it is said once and holds from then on, as in `log.steps`."""
        return self.name in ("/route", "/vehicle") or self.name.endswith("/model")

    def add(self, ns: int, place: int) -> None:
        k = bisect_right(self.times, ns)
        self.times.insert(k, ns)
        self.places.insert(k, place)


class Index:
    """One log. Safe to use from several threads. Raises LogError when the file can't be read or isn't a log."""

    def __init__(self, path: Path) -> None:
        self.path, self.generation = path, 0
        self._lock = RLock()
        self._reset()

    def _reset(self) -> None:
        self.about: dict[str, str] = {}
        self.topics: dict[str, Topic] = {}
        self.events = Events()
        self.speed_times, self.speeds = array("q"), array("d")
        self.whole = self.torn = False
        self._channels: dict[int, Topic] = {}
        self._schemas: dict[int, Schema] = {}
        self._chunks: list[tuple[int, int]] = []  # where each chunk's record body lies in the file: offset, length
        self._unpacked: OrderedDict[int, bytes] = OrderedDict()
        self._offset, self._written, self._read_up = 0, 0.0, False
        self._file_id: tuple[int, int] | None = None

    # ------------------------------------------------------------------ growing

    def grow(self) -> bool:
        """Take in the next whole chunk. True when there may be more at once."""
        with self._lock:
            try:
                with open(self.path, "rb") as file:
                    stat = os.fstat(file.fileno())
                    if self._file_id not in (None, (stat.st_dev, stat.st_ino)) or stat.st_size < self._offset:
                        self._reset()
                        self.generation += 1
                    self._file_id, self._written = (stat.st_dev, stat.st_ino), stat.st_mtime
                    more = not self.whole and not self.torn and self._next(file, stat.st_size)
                    self._read_up |= not more
                    return more
            except OSError as error:
                raise LogError(f"can't read the log {self.path}: {error.strerror}") from error

    def _next(self, file: Any, size: int) -> bool:
        if self._offset == 0:
            magic = file.read(MAGIC_SIZE)
            if magic != MAGIC[: len(magic)]:
                raise LogError(f"{self.path} is not an MCAP log")
            if len(magic) < MAGIC_SIZE:
                return False
            self._offset = MAGIC_SIZE
        file.seek(self._offset)
        head = file.read(HEAD.size)
        if len(head) < HEAD.size:
            return False
        opcode, length = HEAD.unpack(head)
        if length > LARGEST:
            self.torn = True
        if self.torn or self._offset + HEAD.size + length > size:
            return False
        body = self._offset + HEAD.size
        self._offset = body + length
        try:
            if opcode == Opcode.CHUNK:
                self._take(file.read(length), body)
            elif opcode == Opcode.METADATA:
                metadata = Metadata.read(ReadDataStream(BytesIO(file.read(length))))
                if metadata.name == "nanopilot":
                    self.about = metadata.metadata
            elif opcode == Opcode.DATA_END:
                self.whole = True
        except Exception:  # a torn record may break any of the libraries that unpack it
            self.torn = True
        return not self.whole and not self.torn

    def _take(self, record: bytes, at: int) -> None:
        data, number = _unpack(record), len(self._chunks)
        self._chunks.append((at, len(record)))
        self._keep(number, data)
        place = 0
        while place + HEAD.size <= len(data):
            opcode, length = HEAD.unpack_from(data, place)
            body = place + HEAD.size
            if opcode == Opcode.SCHEMA:
                schema = Schema.read(ReadDataStream(BytesIO(data[body : body + length])))
                self._schemas[schema.id] = schema
            elif opcode == Opcode.CHANNEL:
                self._open(Channel.read(ReadDataStream(BytesIO(data[body : body + length]))))
            elif opcode == Opcode.MESSAGE:
                channel, _, ns, _ = MESSAGE.unpack_from(data, body)
                if channel in self._channels:
                    self._message(self._channels[channel], ns, number << 32 | place, data[body + MESSAGE.size : body + length])
            place = body + length

    def _open(self, channel: Channel) -> None:
        schema = self._schemas.get(channel.schema_id)
        if channel.message_encoding != "json" or channel.id in self._channels or schema is None:
            return
        picture = schema.name == "foxglove.CompressedImage"
        facts = None if picture else watcher(channel.topic, _json(schema.data) or {})
        self._channels[channel.id] = self.topics.setdefault(channel.topic, Topic(channel.topic, picture, facts))

    def _message(self, topic: Topic, ns: int, place: int, text: bytes) -> None:
        topic.add(ns, place)
        speaks = "/car" if "/car" in self.topics else "/world"  # of our speed
        follow = topic.name == speaks and (not self.speed_times or ns - self.speed_times[-1] >= SPEED_EVERY * NS)
        message = _json(text) if topic.facts or follow else None
        if not isinstance(message, dict):
            return
        if follow and isinstance(message.get("speed"), (int, float)):
            self.speed_times.append(ns)
            self.speeds.append(message["speed"])
        if topic.facts:
            self.events.add(ns / NS, topic.facts(message))

    # ------------------------------------------------------------------ asking

    @property
    def cameras(self) -> list[str]:
        return [name for name, topic in self.topics.items() if topic.picture]

    @property
    def beat(self) -> Topic | None:
        """The topic that has one message a step: /step, which comes last in it, else the first camera, else the one that says most."""
        named = [self.topics[name] for name in ("/step", *self.cameras) if name in self.topics]
        return named[0] if named else max(self.topics.values(), key=lambda t: len(t.times), default=None)

    @property
    def state(self) -> str:
        """whole; reading what is there; live, to its end; or cut off."""
        if self.whole or not self._read_up:
            return "whole" if self.whole else "reading"
        return "live" if not self.torn and abs(time() - self._written) < LIVE_FOR else "cut"

    def summary(self, since: float = -1e11) -> dict[str, Any]:
        """What the page must know, of times only those after `since`, of events those that were not over then."""
        with self._lock:
            times = self.beat.times if self.beat else array("q")
            if self.state in ("reading", "live") and self.beat and self.beat.name != "/step":
                times = times[:-1]  # the rest of that step may be in the next chunk
            first = bisect_right(times, round(since * NS) + SAME)
            curve = bisect_right(self.speed_times, round(since * NS) + SAME)
            return {
                "name": self.path.name, "generation": self.generation, "about": self.about, "cameras": self.cameras,
                "state": self.state,
                "topics": {name: len(topic.times) for name, topic in self.topics.items()},
                "times": [ns / NS for ns in times[first:]],
                "speed": [[ns / NS for ns in self.speed_times[curve:]], [round(v, 3) for v in self.speeds[curve:]]],
                "events": self.events.since(since),
            }  # fmt: skip

    def step(self, t: float) -> dict[str, bytes] | None:
        """The JSON text of each topic's message in the last step at or before `t`; None before the first step."""
        with self._lock:
            beat = self.beat
            k = bisect_right(beat.times, round(t * NS) + SAME) if beat else 0
            if k == 0:
                return None
            now, before = beat.times[k - 1], beat.times[k - 2] if k > 1 else -(2**62)
            out = {}
            for name, topic in self.topics.items():
                m = bisect_right(topic.times, now) - 1
                if topic.picture or m < 0 or (topic.times[m] <= before and not topic.stays):
                    continue
                text = self._text(topic.places[m])
                if text is not None and _json(text) is not None:
                    out[name] = text
            return out

    def picture(self, t: float, camera: str = "") -> bytes | None:
        """The latest JPEG of a camera at `t`, of the first camera unless named; None when that is older than FROZEN."""
        with self._lock:
            topic = self.topics.get(camera or next(iter(self.cameras), ""))
            if topic is None or not topic.picture:
                return None
            k = bisect_right(topic.times, round(t * NS) + SAME) - 1
            if k < 0 or topic.times[k] < (t - FROZEN) * NS:
                return None
            message = _json(self._text(topic.places[k]) or b"")
        try:
            return base64.b64decode(message["data"])
        except (TypeError, KeyError, ValueError):
            return None

    def _text(self, place: int) -> bytes | None:
        """One message's data; None when the file lost it since."""
        number, offset = place >> 32, place & 0xFFFFFFFF
        data = self._unpacked.get(number)
        if data is None:
            at, length = self._chunks[number]
            try:
                with open(self.path, "rb") as file:
                    file.seek(at)
                    data = _unpack(file.read(length))
            except Exception:  # begun anew or cut behind our back: the next `grow` sees it
                return None
        self._keep(number, data)
        _, length = HEAD.unpack_from(data, offset)
        body = offset + HEAD.size
        return data[body + MESSAGE.size : body + length]

    def _keep(self, number: int, data: bytes) -> None:
        self._unpacked[number] = data
        self._unpacked.move_to_end(number)
        if len(self._unpacked) > CACHED:
            self._unpacked.popitem(last=False)


def _unpack(record: bytes) -> bytes:
    """A chunk's records. Raises what the library does on a torn or wrong one."""
    stream, length = get_chunk_data_stream(Chunk.read(ReadDataStream(BytesIO(record))), validate_crc=True)
    return stream.read(length)


def _json(text: bytes) -> Any:
    """The value, or None for what a browser could not parse (a message torn by Ctrl-C, NaN)."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except ValueError:
        return None


def _refuse(name: str) -> None:
    raise ValueError(name)
