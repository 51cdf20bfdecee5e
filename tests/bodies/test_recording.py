"""Sources: their own times, upright pictures, and one clear line for each thing that can be wrong."""

import struct
import threading
from dataclasses import replace
from fractions import Fraction
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import av
import cv2
import numpy as np
import pytest

from nanopilot.bodies import sources
from nanopilot.bodies.recording import Recording
from nanopilot.bodies.sources import SourceBroken, SourceError, pictures
from nanopilot.bodies.speeds import read_speeds
from nanopilot.log import Log, Step
from nanopilot.messages import BodyStopped, CameraModel, CarState, Frame, Observation, speed_known


def camera(width: int, height: int) -> CameraModel:
    return CameraModel("front", width, height, width, width, width / 2, height / 2)


def image(k: int, width: int = 96, height: int = 64) -> np.ndarray:
    picture = np.full((height, width, 3), 40, np.uint8)
    picture[:, : 4 + 4 * k] = (200, 30, 30)
    return picture


def write_video(path, times, size=(96, 64), codec="mpeg4", **container_options):
    with av.open(str(path), "w", **container_options) as out:
        stream = out.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for k, t in enumerate(times):
            frame = av.VideoFrame.from_ndarray(image(k, *size), "rgb24")
            frame.pts, frame.time_base = round(1000 * t), Fraction(1, 1000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


def test_a_video_of_variable_frame_rate_keeps_its_own_times(tmp_path):
    times = [0.0, 0.04, 0.1, 0.14, 0.5, 0.54]
    path = write_video(tmp_path / "v.mp4", times)
    seen = list(pictures(str(path)))
    assert [p.t for p in seen] == pytest.approx(times, abs=0.002)
    assert seen[0].image.shape == (64, 96, 3) and seen[0].image[32, 1, 0] > 150 > seen[0].image[32, 60, 0]  # RGB, not BGR


def test_a_named_rate_replaces_the_clock(tmp_path):
    path = write_video(tmp_path / "v.mp4", [0, 0.04, 0.5])
    assert [p.t for p in pictures(str(path), 10.0)] == pytest.approx([0, 0.1, 0.2])


@pytest.mark.parametrize("degrees", [0, 90, 180, -90])
def test_rotation_turns_a_picture_as_opencv_does(degrees):
    code = {90: cv2.ROTATE_90_COUNTERCLOCKWISE, 180: cv2.ROTATE_180, -90: cv2.ROTATE_90_CLOCKWISE}.get(degrees)
    wanted = image(3) if code is None else cv2.rotate(image(3), code)
    np.testing.assert_array_equal(sources.upright(image(3), degrees), wanted)


def test_a_video_cut_in_the_middle_gives_what_it_has_and_says_where_it_breaks(tmp_path):
    whole = write_video(tmp_path / "v.mkv", np.arange(100) * 0.04)
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    seen = []
    with pytest.raises(SourceBroken, match=r"cut\.mkv"):
        for p in pictures(str(cut)):
            seen.append(p.t)
    assert 10 < len(seen) < 90


def test_a_file_whose_metadata_says_rotated_stands_upright(tmp_path):
    path = write_video(tmp_path / "v.mp4", [0, 0.04])
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 44  # ISO 14496-12: version 0 has 40 bytes before it, 9 numbers follow
    one = 1 << 16
    assert struct.unpack(">9i", data[matrix : matrix + 36]) == (one, 0, 0, 0, one, 0, 0, 0, 1 << 30)
    data[matrix : matrix + 36] = struct.pack(">9i", 0, one, 0, -one, 0, 0, 64 * one, 0, 1 << 30)  # shown turned clockwise
    path.write_bytes(data)
    seen = [p.image for p in pictures(str(path))]
    assert [i.shape for i in seen] == [(96, 64, 3)] * 2
    assert np.abs(seen[1].astype(int) - cv2.rotate(image(1), cv2.ROTATE_90_CLOCKWISE)).mean() < 12  # the codec's


def test_a_video_without_timestamps_goes_by_its_frame_rate(tmp_path):
    with av.open(str(tmp_path / "v.h264"), "w", format="h264") as out:  # the codec's stream alone: no container, no times
        stream = out.add_stream("libx264", rate=20)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for k in range(10):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(image(k), "rgb24")))
        out.mux(stream.encode())
    seen = [p.t for p in pictures(str(tmp_path / "v.h264"))]
    assert seen == pytest.approx(np.arange(len(seen)) / 20, abs=1e-3) and len(seen) >= 9


def test_a_video_that_changes_its_resolution_goes_on_in_the_first_and_one_of_another_shape_ends(tmp_path):
    parts = [(96, 64), (192, 128), (128, 128)]
    for n, size in enumerate(parts):
        write_video(tmp_path / f"{n}.ts", np.arange(5) * 0.04 + n, size, format="mpegts")
    (tmp_path / "v.ts").write_bytes(b"".join((tmp_path / f"{n}.ts").read_bytes() for n in range(3)))
    seen = []
    with pytest.raises(SourceBroken, match=r"96x64 to 128x128 after .* watch the parts apart"):
        for p in pictures(str(tmp_path / "v.ts"), 25.0):
            seen.append(p.image)
    assert len(seen) >= 9 and {i.shape for i in seen} == {(64, 96, 3)}
    assert np.abs(seen[8].astype(int) - image(1)).mean() < 12  # the larger one, scaled: its bars are half as wide


def test_joined_recordings_whose_clock_begins_anew_are_watched_to_the_end(tmp_path):
    for n in range(2):
        write_video(tmp_path / f"{n}.ts", np.arange(25) * 0.04, format="mpegts")
    (tmp_path / "v.ts").write_bytes(b"".join((tmp_path / f"{n}.ts").read_bytes() for n in range(2)))
    seen = [p.t for p in pictures(str(tmp_path / "v.ts"))]
    assert len(seen) >= 48 and seen == pytest.approx(np.arange(len(seen)) * 0.04, abs=0.05) and min(np.diff(seen)) > 0


def test_4k_is_read_in_full(tmp_path):
    path = write_video(tmp_path / "v.mp4", [0, 0.04, 0.08], (3840, 2160))
    assert [p.image.shape for p in pictures(str(path))] == [(2160, 3840, 3)] * 3


def test_a_change_of_size_in_a_folder_is_said_and_earlier_pictures_are_kept(tmp_path):
    for k in range(4):
        cv2.imwrite(str(tmp_path / f"{k}.png"), image(k, 96 if k < 3 else 80))
    seen = []
    with pytest.raises(SourceBroken, match=r"96x64 to 80x64 after 0\.30 s"):
        for p in pictures(str(tmp_path), 10.0):
            seen.append(p.t)
    assert seen == pytest.approx([0, 0.1, 0.2])


def test_what_cannot_be_watched_is_said_in_words(tmp_path):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("no video at all, really not" * 50)
    (tmp_path / "none").mkdir()
    whole = write_video(tmp_path / "v.mp4", np.arange(30) * 0.04)
    (tmp_path / "headless.mp4").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])  # its index stood at the end
    for name, said in (
        ("empty.mp4", "zero bytes"),
        ("text.mp4", "no video that FFmpeg can read"),
        ("none", "holds no pictures"),
        ("nowhere.mp4", "no such file"),
        ("headless.mp4", "no video that FFmpeg can read"),
    ):
        with pytest.raises(SourceError, match=said):
            list(pictures(str(tmp_path / name)))
    with pytest.raises(SourceError, match="no camera 97"):
        next(pictures("97"))


def test_a_stream_that_stops_is_opened_again(tmp_path, monkeypatch):
    path = write_video(tmp_path / "v.mp4", np.arange(5) * 0.04)
    opened, real = [], av.open

    def flaky(url, **options):
        opened.append(url)
        if len(opened) == 2:
            raise av.error.ConnectionRefusedError(111, "refused")
        if len(opened) > 3:
            monkeypatch.setattr(sources, "GIVE_UP", 0.0)
            raise av.error.ConnectionRefusedError(111, "refused")
        return real(str(path))

    monkeypatch.setattr(sources, "RECONNECT", (0.01, 0.02))
    monkeypatch.setattr(sources.av, "open", flaky)
    seen = []
    with pytest.raises(SourceBroken, match="rtsp://car/1: no picture"):
        for p in sources._reconnecting("rtsp://car/1"):
            seen.append(p.t)
    assert len(seen) == 10 and seen == sorted(seen)


def test_of_a_live_source_only_the_newest_picture_is_given():
    def fast():
        for k in range(200):
            yield sources.Picture(float(k), image(0))
            sources.sleep(0.001)

    seen = []
    with pytest.raises(SourceBroken, match="ended"):
        for p in sources._beside(fast, live=True):
            seen.append(p.t)
            sources.sleep(0.02)
    assert seen == sorted(seen) and 2 < len(seen) < 60


def test_what_waits_for_us_is_read_a_little_ahead_and_whole():
    read = []

    def film():
        for k in range(9):
            read.append(k)
            yield sources.Picture(float(k), image(0))
        raise SourceBroken("breaks off")

    pictures, seen = sources._beside(film, live=False), []
    with pytest.raises(SourceBroken, match="breaks off"):
        for p in pictures:
            sources.sleep(0.01)
            seen.append(int(p.t))
            assert len(read) <= len(seen) + sources.AHEAD + 1
    assert seen == list(range(9))


def test_a_source_that_is_let_go_is_read_no_further():
    before = threading.active_count()
    pictures = sources._beside(lambda: (sources.Picture(float(k), image(0)) for k in range(10**9)), live=False)
    assert next(pictures).t == 0.0
    pictures.close()
    for _ in range(200):
        if threading.active_count() == before:
            break
        sources.sleep(0.01)
    assert threading.active_count() == before


def test_a_log_is_watched_with_its_own_camera_and_speed(tmp_path):
    with Log(tmp_path / "l.mcap") as log:
        log.write("/camera/front/model", camera(96, 64), 0.0)
        for k in range(3):
            frame = Frame(5 + k / 10, "front", image(k))
            log.write_step(Observation(frame.t, (frame,), CarState(frame.t, 7.0, 0.0, 0.1, 0.0)), Step(frame.t, {}))
    body = Recording(str(tmp_path / "l.mcap"), lambda w, h: pytest.fail("the log has a camera"))
    seen = [body.observe() for _ in range(3)]
    assert [o.t for o in seen] == pytest.approx([0, 0.1, 0.2]) and all(o.car.speed == 7.0 and o.car.t == o.t for o in seen)
    with pytest.raises(BodyStopped):
        body.observe()
    assert body.broken == ""


def test_a_log_is_watched_with_its_side_cameras_where_they_looked(tmp_path):
    side = replace(camera(96, 64), name="left", yaw=1.4)
    with Log(tmp_path / "l.mcap") as log:
        for c in (side, camera(96, 64)):
            log.write(f"/camera/{c.name}/model", c, 0.0)
        for k in range(3):
            frames = [Frame(5 + k / 10, "left", image(9))] * (k == 1) + [Frame(5 + k / 10, "front", image(k))]
            log.write_step(Observation(frames[0].t, tuple(frames), CarState(frames[0].t, 7.0, 0.0, 0.1, 0.0)), Step(frames[0].t, {}))
    body = Recording(str(tmp_path / "l.mcap"), lambda w, h: pytest.fail("the log has a camera"))
    assert [c.name for c in body.cameras] == ["front", "left"]
    told = [[(f.camera, f.t) for f in body.observe().frames] for _ in range(3)]
    assert told == [[("front", 0.0)], [("front", pytest.approx(0.1)), ("left", pytest.approx(0.1))], [("front", pytest.approx(0.2))]]


def test_a_video_file_behind_a_url_is_watched_as_a_file_and_ends(tmp_path):
    times = np.arange(50) * 0.04
    write_video(tmp_path / "v.mp4", times)
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    handler.log_message = lambda *_: None
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        got = [p.t for p in pictures(f"http://127.0.0.1:{server.server_port}/v.mp4")]
        server.shutdown()
    assert got == pytest.approx(times)


def test_own_speed_from_a_table_is_interpolated_and_unknown_outside(tmp_path):
    table = tmp_path / "speed.csv"
    table.write_text("t, speed, yaw_rate\n0.05, 10, 0.0\n0.25, 12, 0.2\n")
    path = write_video(tmp_path / "v.mp4", np.arange(5) * 0.1)
    body = Recording(str(path), camera, read_speeds(table))
    cars = [body.observe().car for _ in range(5)]
    assert cars[1].speed == pytest.approx(10.5) and cars[2].yaw_rate == pytest.approx(0.15)
    assert [speed_known(c) for c in cars] == [False, True, True, False, False]


def test_a_damaged_place_in_a_video_is_passed_over_and_told(tmp_path):
    path = write_video(tmp_path / "v.mp4", np.arange(100) * 0.04, (192, 128), "libx264")
    data = bytearray(path.read_bytes())
    middle = len(data) // 3
    data[middle : middle + len(data) // 12] = np.random.default_rng(0).integers(0, 255, len(data) // 12, np.uint8).tobytes()
    path.write_bytes(data)
    seen = []
    with pytest.raises(SourceBroken, match=r"damaged: \d+ packets were passed over, the first at \d"):
        for p in pictures(str(path)):
            seen.append(p.t)
    assert seen[-1] == pytest.approx(3.96) and 50 < len(seen) < 100


def test_pictures_of_a_folder_come_in_the_order_people_count(tmp_path):
    for k in (10, 9, 2, 1):
        cv2.imwrite(str(tmp_path / f"frame{k}.png"), image(k))
    got = [int((p.image[0, :, 2] == 200).sum()) for p in pictures(str(tmp_path))]
    assert got == [4 + 4 * k for k in (1, 2, 9, 10)]


@pytest.mark.parametrize("text", ["", "time,v\n1,2\n", "t,speed\n1,x\n", "t,speed\n2,1\n1,1\n", "t,speed\n1,nan\n", "t,speed\n1\n"])
def test_a_bad_table_is_refused(text, tmp_path):
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(SourceError, match=r"s\.csv"):
        read_speeds(tmp_path / "s.csv")
