"""Own speed from other people's files, against examples and distances that are not ours."""

import numpy as np
import pytest

from nanopilot.bodies.sources import SourceError
from nanopilot.bodies.speeds import KNOT, read_speeds
from nanopilot.messages import speed_known

HEAD = '<?xml version="1.0"?><gpx version="1.1" xmlns="http://www.topografix.com/GPX/1/1"><trk><trkseg>'
TAIL = "</trkseg></trk></gpx>"


def gpx(points) -> str:
    """(s, latitude, what stands in the point) each."""
    point = '<trkpt lat="{1}" lon="9"><time>2026-03-29T00:59:{0:06.3f}Z</time>{2}</trkpt>'
    return HEAD + "".join(point.format(*p) for p in points) + TAIL


def file(tmp_path, text: str):
    path = tmp_path / "track"
    path.write_text(text)
    return path


def test_a_gpx_track_tells_its_speeds(tmp_path):
    speed = '<extensions><x:TrackPointExtension xmlns:x="http://www.garmin.com/xmlschemas/TrackPointExtension/v2"><x:speed>{}</x:speed>'
    end = "</x:TrackPointExtension></extensions>"
    table = read_speeds(file(tmp_path, gpx((k, 50, speed.format(10 + k) + end) for k in range(4))), later=2.0)
    assert (table.source, table.at(3.5).speed) == ("gpx", pytest.approx(11.5))
    assert [speed_known(table.at(t)) for t in (1.9, 2.0, 5.0, 5.1)] == [False, True, True, False]


def test_a_gpx_track_without_speeds_is_measured_by_its_positions(tmp_path):
    minute = 1852.0  # m, of latitude: the nautical mile
    table = read_speeds(file(tmp_path, gpx((k, 50 + 15.0 * k / minute / 60, "") for k in range(6))))
    assert table.at(2.0).speed == pytest.approx(15.0, rel=2e-3) and table.at(2.0).speed_std > 0.5


def test_nmea_sentences_tell_speed_in_knots_and_torn_ones_nothing(tmp_path):
    known = "$GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W*6A"  # the textbook's
    torn = known.replace("123519", "123520").replace("022.4", "922.4")
    void = "$GNRMC,123521,V,,,,,,,230394,,,N"
    later = "$GNRMC,123521.50,A,4807.038,N,01131.000,E,10.0,084.4,230394,,"
    table = read_speeds(file(tmp_path, "\r\n".join((known, "$GPGGA,123519,,,,,0,,,,,,,,", torn, void, later))))
    np.testing.assert_allclose(table.t, [0, 2.5])
    np.testing.assert_allclose(table.speed, [22.4 * KNOT, 10 * KNOT])


def test_a_candump_of_obd_answers_tells_speed_and_a_silent_bus_none(tmp_path):
    asked = "(1436509052.{}) can0 7DF#02010D0000000000"
    answer = "({}) can0 7E8#03410D{:02X}AAAAAAAA"
    lines = [asked.format(1), answer.format(1436509052.2, 72), "(1436509052.3) can0 7E8#04410C1AF8000000", answer.format(1436509053.2, 90),
             answer.format(1436509063.2, 36)]  # fmt: skip
    table = read_speeds(file(tmp_path, "\n".join(lines)))
    assert table.source == "can" and [table.at(t).speed for t in (0.0, 1.0, 11.0)] == pytest.approx([20, 25, 10])
    assert speed_known(table.at(0.5)) and not speed_known(table.at(5.0))


TIMELESS = HEAD + '<trkpt lat="50" lon="9"/>' + TAIL


@pytest.mark.parametrize("text", [HEAD, HEAD + TAIL, TIMELESS, "$GPRMC,1,A", "(1.0) can0 7E8#03410C00", "(", "\x00"])
def test_what_holds_no_speeds_is_refused_by_its_name(text, tmp_path):
    with pytest.raises(SourceError, match="track"):
        read_speeds(file(tmp_path, text))
