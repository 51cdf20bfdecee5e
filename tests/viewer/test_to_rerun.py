"""A Rerun recording, read back with Rerun's own reader: every step is there, at its time, with what the log says."""

import builtins

import numpy as np
import pytest
import viewer_logs

from nanopilot.cli import main
from nanopilot.log import Log, LogError
from nanopilot.messages import Warning, WarningKind, WarningLevel, Warnings
from nanopilot.viewer.to_rerun import export


def test_without_the_extra_it_says_which_is_missing(tmp_path, monkeypatch, capsys):
    real = builtins.__import__

    def without(name, *rest):
        if name == "rerun":
            raise ModuleNotFoundError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SystemExit) as stop:
        main(["view", str(viewer_logs.write(tmp_path / "a.mcap", 0.2)), "--rerun"])
    assert stop.value.code == 2 and "pip install 'nanopilot[rerun]'" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.rrd*"))


def test_every_step_is_there_at_its_time(tmp_path, capsys):
    chunk = pytest.importorskip("rerun.chunk", reason="rerun-sdk is not installed: pip install -e '.[rerun]'")
    log = tmp_path / "a.mcap"
    with Log(log) as out:
        out.write("/camera/front/model", viewer_logs.CAMERA, 0.0)
        for k in range(40):
            if k == 30:
                w = Warning(1.5, WarningKind.HEADWAY, WarningLevel.LATE, 0.4, 0.1, 0.6, "s", "0.4 s behind")
                out.write("/warnings", Warnings(1.5, (w,), (w,), ()))
            viewer_logs.add(out, k)
    with pytest.raises(SystemExit) as stop:
        main(["view", str(log), "--rerun"])
    assert stop.value.code == 0 and "40 steps" in capsys.readouterr().out
    rows: dict[str, dict[str, list]] = {}
    for part in chunk.RrdReader(tmp_path / "a.rrd").stream():
        if not part.is_static:
            columns = part.to_record_batch().to_pydict()
            at = rows.setdefault(part.entity_path, {})
            for name, values in columns.items():
                at.setdefault(name, []).extend(values)

    def told(entity: str, component: str) -> list:
        return [v for v in next(values for name, values in rows[entity].items() if name.endswith(component)) if v]

    times = [t.total_seconds() if hasattr(t, "total_seconds") else t / 1e9 for t in rows["/own/speed"]["t"]]
    np.testing.assert_allclose(sorted(times), np.arange(40) / 20, atol=1e-6)
    np.testing.assert_allclose(sorted(v[0] for v in told("/own/speed", "scalars")), 5 + np.arange(40) / 20)
    pictures = told("/vehicle/front", "blob")
    assert len(pictures) == 40 and bytes(pictures[0][0])[:2] == b"\xff\xd8"
    assert len(told("/vehicle/tracks", "centers")) == 40 and told("/vehicle/tracks", "centers")[0][0] == pytest.approx([20.0, 0.2, 0.8])
    assert told("/text/warnings", "text") == [["headway late: 0.4 s behind"]] and told("/text/warnings", "level") == [["ERROR"]]
    assert told("/text/behaviour", "text") == [["keep_lane: keep lane"], ["follow: slower car ahead"]]


def test_a_log_of_nothing_leaves_no_recording(tmp_path):
    pytest.importorskip("rerun", reason="rerun-sdk is not installed: pip install -e '.[rerun]'")
    with Log(tmp_path / "empty.mcap"):
        pass
    with pytest.raises(LogError, match="holds no steps"):
        export(tmp_path / "empty.mcap", tmp_path / "empty.rrd")
    assert not list(tmp_path.glob("*.rrd*"))
