"""The log: every message with its time, to and from one MCAP file that Foxglove opens as it is.

In: messages. Out: (t, topic, message) again, rebuilt as the same dataclasses. A message becomes JSON with a JSON
schema made from its dataclass: a field that is None is left out, a vector is a list, a matrix is
{"shape", "data"} in row order, bytes (scenes, masks) are {"shape", "base64"}; floats come back exactly.
Camera pictures are the one lossy thing: they are foxglove.CompressedImage, JPEG.
A file cut off at any byte reads up to its last whole chunk (at most CHUNK bytes of messages are lost), and so
does one whose disk filled up. A reader knows the types in `messages`; others, such as a simulator's truth, must be
handed to `read` by who is allowed them. It holds no clock: times are the messages' own.
Source of the format: mcap.dev/spec, foxglove.dev (schema names).
"""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import struct
import types
import typing
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
from mcap.exceptions import InvalidMagic, McapError
from mcap.records import Channel, Metadata, Schema
from mcap.records import Message as McapMessage
from mcap.stream_reader import CRCValidationError, StreamReader
from mcap.writer import CompressionType, Writer

from nanopilot import messages
from nanopilot.messages import Frame, Message, Observation

CHUNK = 512 * 1024  # bytes of messages per chunk, about 0.4 s of a drive: what a kill may cost
COMPRESSION = CompressionType.LZ4  # zstd: a quarter smaller, 0.5 ms a step dearer (measured)
JPEG_QUALITY = 90  # guess: no artefacts to see at 512x256, about 40 kB
NS = 1_000_000_000
IMAGE_SCHEMA = {
    "type": "object",
    "properties": {
        "timestamp": {"type": "object", "title": "time", "properties": {"sec": {"type": "integer"}, "nsec": {"type": "integer"}}},
        "frame_id": {"type": "string"},
        "data": {"type": "string", "contentEncoding": "base64"},
        "format": {"type": "string"},
        "t": {"type": "number"},
    },
}


class LogError(Exception):
    """A log that can't be written or isn't one. `args[0]` is a line for people."""


@dataclass(frozen=True)
class Step(Message):
    """How one step went: the seconds each stage took on this machine, and the fault that stopped one, if any."""

    t: float
    seconds: dict[str, float]
    fault: str = ""


# --------------------------------------------------------------------------- dataclass <-> JSON


def to_json(value: Any) -> Any:
    """A message, or a part of one, as what `json` can write."""
    if isinstance(value, np.ndarray):
        if value.dtype == np.uint8:
            return {"shape": value.shape, "base64": base64.b64encode(value.tobytes()).decode()}
        return value.tolist() if value.ndim == 1 else {"shape": value.shape, "data": value.ravel().tolist()}
    if _is_message(value):
        plain, parts = _split(value.__class__)
        out = {name: getattr(value, name) for name in plain}
        for name in parts:
            part = getattr(value, name)
            if part is not None:
                out[name] = to_json(part)
        return out
    if isinstance(value, (tuple, list)):
        return [to_json(v) for v in value]
    return value


def from_json(kind: Any, value: Any) -> Any:
    """Rebuild a value of the annotated type `kind`. Raises KeyError, TypeError or ValueError on JSON that doesn't fit."""
    if value is None:
        return None
    if _is_message(kind):
        hints = _hints(kind)
        missing = {name: None for name in hints if name not in value and _optional(hints[name])}
        return kind(**missing, **{name: from_json(hints[name], v) for name, v in value.items() if name in hints})
    if _optional(kind):
        return from_json(_required(kind), value)
    if typing.get_origin(kind) is tuple:
        return tuple(from_json(typing.get_args(kind)[0], v) for v in value)
    if _is_array(kind):
        if isinstance(value, dict) and "base64" in value:
            return np.frombuffer(base64.b64decode(value["base64"]), np.uint8).reshape(value["shape"])
        data, shape = (value["data"], value["shape"]) if isinstance(value, dict) else (value, (-1,))
        return np.array(data, np.float32 if "float64" not in kind.dtypes else float).reshape(shape)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return kind(value)
    return float(value) if kind is float else value


def schema(kind: Any) -> dict[str, Any]:
    """JSON schema (2020-12) of an annotated type; Foxglove reads field names and types from it."""
    if _optional(kind):
        return schema(_required(kind))
    if _is_message(kind):
        hints = _hints(kind)
        required = [name for name in hints if not _optional(hints[name])]
        return {"type": "object", "properties": {name: schema(h) for name, h in hints.items()}, "required": required}
    if _is_array(kind):
        shape = {"type": "array", "items": {"type": "integer"}}
        numbers = {"type": "array", "items": {"type": "number"}}
        if "uint8" in kind.dtypes:
            return {"type": "object", "properties": {"shape": shape, "base64": {"type": "string"}}, "required": ["shape", "base64"]}
        if len(kind.dims) == 1:
            return numbers
        return {"type": "object", "properties": {"shape": shape, "data": numbers}, "required": ["shape", "data"]}
    if typing.get_origin(kind) is tuple:
        return {"type": "array", "items": schema(typing.get_args(kind)[0])}
    if typing.get_origin(kind) is dict:
        return {"type": "object"}
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return {"type": "string", "enum": [str(v) for v in kind]}
    return {"type": {bool: "boolean", int: "integer", float: "number", str: "string"}[kind]}


@cache
def _hints(kind: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {f.name: hints[f.name] for f in dataclasses.fields(kind)}


@cache
def _split(kind: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the fields that are JSON as they stand, and of the others."""
    plain = tuple(n for n, h in _hints(kind).items() if isinstance(h, type) and issubclass(h, (float, int, str)) and not _is_array(h))
    return plain, tuple(n for n in _hints(kind) if n not in plain)


@cache
def _optional(kind: Any) -> bool:
    return typing.get_origin(kind) in (types.UnionType, typing.Union) and type(None) in typing.get_args(kind)


@cache
def _required(kind: Any) -> Any:
    return next(k for k in typing.get_args(kind) if k is not type(None))


def _is_message(kind: Any) -> bool:
    return dataclasses.is_dataclass(kind)


def _is_array(kind: Any) -> bool:
    return hasattr(kind, "dtypes") and hasattr(kind, "dims")


# --------------------------------------------------------------------------- writing


class Log:
    """Writes one file. A context manager; every error of the disk becomes a LogError, and what was written stays readable.

    `about` is kept in the file as it is: the command, the configuration, the versions.
    """

    def __init__(self, path: Path | str, about: Mapping[str, str] | None = None) -> None:
        self.path = Path(path)
        self._channels: dict[str, int] = {}
        self._last = 0.0
        try:
            self._file: BinaryIO = open(self.path, "wb")
            self._good = 0  # bytes the system has taken: they survive a kill
            self._writer = Writer(self._file, chunk_size=CHUNK, compression=COMPRESSION)
            self._writer.start(profile="", library="nanopilot")
            if about:
                self._writer.add_metadata("nanopilot", dict(about))
            self._flush(0.0)
        except OSError as error:
            raise self._failed(error) from error

    def write(self, topic: str, message: Message, t: float | None = None) -> None:
        """Add a message at `t` (its own time unless given). Raises LogError when the disk takes no more."""
        t = message.t if t is None else t  # type: ignore[attr-defined]  # Message itself has no t, all that are logged do
        data = _picture(message) if isinstance(message, Frame) else to_json(message)
        ns = round(t * NS)
        try:
            if topic not in self._channels:
                self._channels[topic] = self._register(topic, type(message))
            self._writer.add_message(self._channels[topic], ns, _bytes(data), ns)
            if self._file.tell() > self._good:  # a chunk became full
                self._flush(t)
        except OSError as error:
            raise self._failed(error) from error

    def write_step(self, observation: Observation, step: Step, **answers: Message | None) -> None:
        """One observation taken apart on its topics, the pilot's answers by their names, and last how the step went."""
        for frame in observation.frames:
            self.write(f"/camera/{frame.camera}", frame)
        for name in ("car", "gps", "route", "walker"):
            message = getattr(observation, name)
            if message is not None:
                self.write(f"/{name}", message, observation.t)
        for name, answer in answers.items():
            if answer is not None:
                self.write(f"/{name}", answer, observation.t)
        self.write("/step", step)

    def close(self) -> None:
        """Write the index and close; may be called twice. Raises LogError when the disk is full."""
        if self._file.closed:
            return
        try:
            self._writer.finish()
            self._file.close()
        except OSError as error:
            raise self._failed(error) from error

    def __enter__(self) -> Log:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.close()

    def _register(self, topic: str, kind: type) -> int:
        name, text = ("foxglove.CompressedImage", IMAGE_SCHEMA) if kind is Frame else (f"nanopilot.{kind.__name__}", schema(kind))
        return self._writer.register_channel(topic, "json", self._writer.register_schema(name, "jsonschema", json.dumps(text).encode()))

    def _flush(self, t: float) -> None:
        self._file.flush()
        self._good, self._last = self._file.tell(), t

    def _failed(self, error: OSError) -> LogError:
        """Close, cut a half-written chunk off, and say what is left."""
        if not hasattr(self, "_file"):
            return LogError(f"can't write the log {self.path}: {error.strerror}")
        with suppress(OSError):  # what it still holds can't be written either
            self._file.close()
        if self.path.is_file():
            with suppress(OSError):  # the reader takes a half chunk at the end as well
                os.truncate(self.path, self._good)
        return LogError(f"the log {self.path} stopped: {error.strerror}; it is readable up to about {self._last:.1f} s")


def _bytes(data: Any) -> bytes:
    return json.dumps(data, separators=(",", ":"), default=np.generic.item).encode()  # default: a numpy number in a plain field


def _picture(frame: Frame) -> dict[str, Any]:
    ok, jpeg = cv2.imencode(".jpg", cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR), (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))
    if not ok:
        raise ValueError(f"camera {frame.camera}: a picture of {frame.image.shape} can't be written as JPEG")
    sec, nsec = divmod(round(frame.t * NS), NS)
    data = base64.b64encode(jpeg.tobytes()).decode()
    return {"timestamp": {"sec": sec, "nsec": nsec}, "frame_id": frame.camera, "data": data, "format": "jpeg", "t": frame.t}


# --------------------------------------------------------------------------- reading


def read(path: Path | str, extra: tuple[type, ...] = ()) -> Iterator[tuple[float, str, Any]]:
    """Every (t, topic, message) in the order written, as far as the file is whole.

    `extra` are message types beyond `messages` to rebuild; a message of an unknown type is passed over.
    Raises LogError when the file is missing, isn't a log, or holds messages of another version.
    """
    known = {f"nanopilot.{k.__name__}": k for k in (*vars(messages).values(), Step, *extra) if _is_message(k)}
    schemas: dict[int, str] = {}
    channels: dict[int, Channel] = {}
    for record in _records(Path(path)):
        if isinstance(record, Schema):
            schemas[record.id] = record.name
        elif isinstance(record, Channel):
            channels[record.id] = record
        elif isinstance(record, McapMessage):
            channel = channels[record.channel_id]
            name, t = schemas[channel.schema_id], record.log_time / NS
            try:
                data = json.loads(record.data)
            except ValueError:
                return  # torn inside a chunk by Ctrl-C
            if name == "foxglove.CompressedImage":
                yield t, channel.topic, _frame(data)
            elif name in known:
                try:
                    message = from_json(known[name], data)
                except (KeyError, TypeError, ValueError) as error:
                    raise LogError(f"{path}: {name} at {t:.2f} s is of another version: {error}") from error
                yield t, channel.topic, message


def steps(path: Path | str, extra: tuple[type, ...] = ()) -> Iterator[dict[str, Any]]:
    """The messages of each step by topic; what comes once (route, camera model) stays in every later step."""
    once: dict[str, Any] = {}
    now: dict[str, Any] = {}
    for _, topic, message in read(path, extra):
        if topic == "/route" or topic.endswith("/model") or topic == "/vehicle":
            once[topic] = message
        else:
            now[topic] = message
        if topic == "/step":
            yield {**once, **now}
            now = {}


def about(path: Path | str) -> dict[str, str]:
    """What the writer said about the drive."""
    return next((r.metadata for r in _records(Path(path)) if isinstance(r, Metadata) and r.name == "nanopilot"), {})


def _records(path: Path) -> Iterator[Any]:
    try:
        file = open(path, "rb")
    except OSError as error:
        raise LogError(f"can't read the log {path}: {error.strerror}") from error
    with file:
        try:
            yield from StreamReader(file, validate_crcs=True).records
        except InvalidMagic as error:
            if file.tell() <= len(MAGIC):
                raise LogError(f"{path} is not an MCAP log") from error
        except (McapError, CRCValidationError, RuntimeError, struct.error, UnicodeDecodeError, MemoryError):
            return  # cut off or torn here: what came before is whole


MAGIC = b"\x89MCAP0\r\n"


def _frame(data: dict[str, Any]) -> Frame:
    bgr = cv2.imdecode(np.frombuffer(base64.b64decode(data["data"]), np.uint8), cv2.IMREAD_COLOR)
    if bgr is None:
        raise LogError(f"a picture of {data['frame_id']} at {data['t']} s can't be decoded")
    return Frame(data["t"], data["frame_id"], np.ascontiguousarray(bgr[..., ::-1]))
