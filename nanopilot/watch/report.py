"""The report of a watch: one HTML file with everything in it, that works without a network, wide or narrow, light or dark.

In: totals, series, events and their pictures. Out: a file. Plots are inline SVG, drawn here; a gap in a curve is where nothing was known.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from math import degrees
from pathlib import Path

import numpy as np

from nanopilot.assist import SPEED_GATED
from nanopilot.messages import Calibration, CameraModel, WarningKind
from nanopilot.watch.events import Event
from nanopilot.watch.series import BANDS, Series, Totals

KPH = 3.6
WIDTH, HEIGHT, MARGIN = 900, 150, 44  # of a plot
GAP = 1.5  # s between points that are not joined
STYLE = """
:root{color-scheme:light dark;--line:#8884;--ink:#1763c6;--soft:#1763c633;--bad:#c62828}
@media(prefers-color-scheme:dark){:root{--ink:#6ab0ff;--soft:#6ab0ff33;--bad:#ff6b60}}
body{font:16px/1.45 system-ui,sans-serif;max-width:960px;margin:1.5em auto;padding:0 1em}
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.25em .6em .25em 0;border-bottom:1px solid var(--line)}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
svg{width:100%;height:auto;display:block;margin:.3em 0 1em}text{fill:currentColor;font-size:12px}
.events{display:grid;grid-template-columns:repeat(auto-fill,minmax(280px,1fr));gap:1em}
figure{margin:0}img{width:100%;border-radius:6px}figcaption{font-size:.9em}.late{color:var(--bad)}small{opacity:.75}
"""


@dataclass(frozen=True)
class About:
    source: str
    lens: str
    stopped: str
    wall: float  # s it took
    camera: CameraModel
    calibration: Calibration | None


def write_report(path: Path, about: About, totals: Totals, series: Series, events: list[Event], shots: Path) -> None:
    """Write the file. Raises OSError when that is not possible."""
    t = series.column("t")
    end = float(t[-1]) if len(t) else 0.0
    parts = [
        f"<h1>{escape(Path(about.source).name or about.source)}</h1>",
        _summary(about, totals),
        "<h2>Warnings</h2>",
        _table(events, totals),
        "<h2>Timeline</h2>" + _timeline(events, end) if events else "",
        "<h2>Over time</h2>",
        _plot("Own speed, km/h", t, series.column("speed") * KPH, end, band=series.column("speed_std") * KPH),
        _plot("Headway to the closest in path, s", t, series.column("headway"), end, top=4.0, mark=BANDS[0]),
        _plot("Time to collision, s", t, series.column("ttc"), end, top=10.0, mark=2.7),
        _plot("Left line, m from the outer wheel edge", t, series.column("left"), end, mark=0.0),
        _plot("Right line, m from the outer wheel edge", t, series.column("right"), end, mark=0.0),
        "<h2>Events</h2>",
        '<div class="events">' + "".join(_figure(e, shots) for e in events) + "</div>" if events else "<p>None.</p>",
        "<p><small>After the procedures of ISO 17361, Euro NCAP and NHTSA, whose limits were read second-hand: no official rating. "
        "Curves keep single steps, not means.</small></p>",
    ]
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>nanopilot watch</title><style>{STYLE}</style>'
    path.write_text(f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>', encoding="utf-8")


def _summary(about: About, totals: Totals) -> str:
    unknown = totals.seconds - sum(totals.speed_known.values())
    c, rows = about.camera, []
    rows.append(
        ("Watched", f"{totals.seconds:.1f} s, {totals.pictures} pictures at {totals.pictures / max(about.wall, 1e-9):.1f} a second")
    )
    rows.append(("Ended", about.stopped))
    rows.append(("Usable pictures", f"{100 * totals.usable / totals.seconds:.0f} % of the time" if totals.seconds else "-"))
    distance = f"{totals.metres / 1000:.2f} ± {totals.metres_std / 1000:.2f} km" if totals.speed_known else "unknown"
    told = [f"from {source} {100 * s / max(totals.seconds, 1e-9):.0f} % of the time" for source, s in totals.speed_known.items()]
    rows.append(("Distance", f"{distance}; own speed known {', '.join(told) or 'never'}"))
    if unknown > 1e-6 or not told:
        names = ", ".join(k.replace("_", " ") for k in SPEED_GATED)
        rows.append(("Off", f"{unknown:.1f} s without own speed, for which these can't be given: {names}"))
    rows.append(("Camera", f"{about.lens}; {c.width}x{c.height} as kept, focal length {c.fx:.0f} px, {c.z:.2f} m above the road"))
    if about.calibration is not None:
        k = about.calibration
        state = "relied on" if k.valid else f"{100 * k.progress:.0f} % of the way"
        state += f", moved {k.moved} times" if k.moved else ""
        rows.append(("Mounting", f"pitch {degrees(k.pitch):.2f} ± {degrees(k.pitch_std):.2f}°, yaw {degrees(k.yaw):.2f} ± "
                     f"{degrees(k.yaw_std):.2f}°, {state}"))  # fmt: skip
    if sum(totals.headway):
        shares = [100 * h / sum(totals.headway) for h in totals.headway]
        between = [f"{a}-{b} s" for a, b in pairwise(BANDS)]
        bands = [f"below {BANDS[0]} s", *between, f"above {BANDS[-1]} s"]
        rows.append(("Headway", ", ".join(f"{n}: {s:.0f} %" for n, s in zip(bands, shares, strict=True))))
    rows += [("Failed steps", f"{n}: {fault}") for fault, n in totals.faults.items()]
    return "<table>" + "".join(f"<tr><th>{escape(a)}</th><td>{escape(b)}</td></tr>" for a, b in rows) + "</table>"


def _table(events: list[Event], totals: Totals) -> str:
    """Exposure: how many, per kilometre and per hour."""
    hours, km = totals.seconds / 3600, totals.metres / 1000
    rows = []
    for kind in WarningKind:
        count = sum(e.first.kind == kind for e in events)
        if count:
            per_km = f"{count / km:.2f}" if km > 0 else "-"
            rows.append(f'<tr><td>{kind.replace("_", " ")}</td><td class="n">{count}</td><td class="n">{per_km}</td>'
                        f'<td class="n">{count / hours:.1f}</td></tr>')  # fmt: skip
    if not rows:
        return "<p>None.</p>"
    head = '<tr><th>kind</th><th class="n">count</th><th class="n">per km</th><th class="n">per hour</th></tr>'
    return f"<table>{head}{''.join(rows)}</table>"


def _x(t: float, end: float) -> float:
    return MARGIN + (WIDTH - MARGIN - 8) * (t / end if end else 0.0)


def _time_axis(end: float, y: float) -> str:
    step = next((s for s in (1, 2, 5, 10, 30, 60, 300, 600, 1800, 3600) if end / s <= 10), 7200)
    ticks = [(k * step, _x(k * step, end)) for k in range(int(end // step) + 1)]
    return "".join(f'<text x="{x:.1f}" y="{y}" text-anchor="{"end" if x > WIDTH - MARGIN else "start"}">{t} s</text>' for t, x in ticks)


def _timeline(events: list[Event], end: float) -> str:
    kinds = [k for k in WarningKind if any(e.first.kind == k for e in events)]
    height = 22 * len(kinds) + 18
    bars = []
    for row, kind in enumerate(kinds):
        bars.append(f'<text x="{MARGIN}" y="{22 * row + 11}">{kind.replace("_", " ")}</text>')
        for e in (e for e in events if e.first.kind == kind):
            x, width = _x(e.first.t, end), max(2.0, _x(e.end, end) - _x(e.first.t, end))
            bars.append(f'<rect x="{x:.1f}" y="{22 * row + 13}" width="{width:.1f}" height="7" fill="var(--bad)">'
                        f"<title>{e.first.t:.2f} s: {escape(e.first.reason)}</title></rect>")  # fmt: skip
    return f'<svg viewBox="0 0 {WIDTH} {height}">{"".join(bars)}{_time_axis(end, height - 3)}</svg>'


def _plot(
    title: str,
    t: np.ndarray,
    y: np.ndarray,
    end: float,
    band: np.ndarray | None = None,
    top: float | None = None,
    mark: float | None = None,
) -> str:
    """One curve with its standard deviation; `mark` is a limit drawn across."""
    keep = np.isfinite(y)
    if not keep.any():
        return f"<h3>{escape(title)}</h3><p>Not known.</p>"
    y = np.minimum(y, top) if top is not None else y
    low, high = min(0.0, float(np.min(y[keep]))), top or max(float(np.max(y[keep])) * 1.1, 1.0)

    def at(v: float) -> float:
        return HEIGHT - 20 - (HEIGHT - 28) * (min(max(v, low), high) - low) / (high - low)

    shapes = []
    index = np.flatnonzero(keep)
    for part in np.split(index, np.flatnonzero(np.diff(t[index]) > GAP) + 1):
        if band is not None and len(part) > 1:
            upper = [f"{_x(t[i], end):.1f},{at(y[i] + band[i]):.1f}" for i in part]
            lower = [f"{_x(t[i], end):.1f},{at(y[i] - band[i]):.1f}" for i in part[::-1]]
            shapes.append(f'<polygon points="{" ".join(upper + lower)}" fill="var(--soft)"/>')
        points = " ".join(f"{_x(t[i], end):.1f},{at(y[i]):.1f}" for i in part)
        shapes.append(f'<polyline points="{points}" fill="none" stroke="var(--ink)" stroke-width="1.5"/>')
    if mark is not None:
        shapes.append(f'<line x1="{MARGIN}" x2="{WIDTH - 8}" y1="{at(mark):.1f}" y2="{at(mark):.1f}" stroke="var(--bad)" '
                      'stroke-dasharray="4 4"/>')  # fmt: skip
    for v in np.linspace(low, high, 4):
        shapes.append(f'<text x="0" y="{at(v) + 4:.1f}">{v:.3g}</text><line x1="{MARGIN}" x2="{WIDTH - 8}" y1="{at(v):.1f}" '
                      f'y2="{at(v):.1f}" stroke="var(--line)"/>')  # fmt: skip
    return f'<h3>{escape(title)}</h3><svg viewBox="0 0 {WIDTH} {HEIGHT}">{"".join(shapes)}{_time_axis(end, HEIGHT - 3)}</svg>'


def _figure(event: Event, shots: Path) -> str:
    w = event.worst
    file = shots / event.picture
    image = ""
    if event.picture and file.is_file():
        data = base64.b64encode(file.read_bytes()).decode()
        image = f'<img src="data:image/jpeg;base64,{data}" alt="{escape(w.reason)}" loading="lazy">'
    side = {-1: " left", 1: " right"}.get(w.side, "")
    speed = f", at {event.speed * KPH:.0f} km/h" if event.speed is not None else ", own speed unknown"
    value = f"{w.value:.2f} ± {w.value_std:.2f} {w.unit}, limit {w.limit:.2f}"
    title = f'<b class="{w.level}">{w.kind.replace("_", " ")}{side}, {w.level}</b>'
    when = f"at {event.first.t:.2f} s for {event.end - event.first.t:.1f} s{speed}"
    return f"<figure>{image}<figcaption>{title} {when}<br>{escape(w.reason)}<br><small>{escape(value)}</small></figcaption></figure>"
