"""The protocols' page: one self-contained HTML file, laid out as an assessor reads it.

In: a Report of `protocols`, and the runs' files beside it. Out: grids coloured by result, one a scenario; below each every run that did
not pass, with speed and distance over time, the pictures at the warning and at the closest moment, and its log. It judges nothing itself.
"""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any

from nanopilot.evaluate.procedures import GROUPS, KPH, cases
from nanopilot.evaluate.protocols import file_of
from nanopilot.evaluate.suite import Report

Row = dict[str, Any]
BY_NAME = {c.name: c for c in cases()}
COLOURS = {"passed": "#2e9e5b", "failed": "#d64545", "invalid": "#9aa0a6", "not required": "#c9d4e5", "error": "#8b1e1e"}
STAGE_COLOURS = ("none", "#f4d35e", "#f4d35e", "#ee964b", "#d64545")  # warning, pre-charge, partial, full
TITLES = {
    "fmvss127": "FMVSS 127", "ccr": "Euro NCAP car-to-car rear", "vru": "Euro NCAP vulnerable road users", "lane": "Euro NCAP lane support",
    "r152": "UN R152", "r157": "UN R157 cut-in", "iso15622": "ISO 15622",
}  # fmt: skip
WIDTH, HEIGHT = 360, 130  # px of a plot
STYLE = """
:root{color-scheme:light dark} body{font:14px/1.45 system-ui,sans-serif;max-width:1100px;margin:2rem auto;padding:0 1rem}
table{border-collapse:separate;border-spacing:2px} th{font-weight:500;text-align:left;padding:2px 6px;white-space:nowrap}
td{min-width:3.2rem;padding:3px 6px;color:#fff;text-align:center;border-radius:3px} td.empty{background:none} td.dark{color:#222}
details{margin:.3rem 0} figure{display:inline-block;margin:.3rem} figcaption{font-size:12px;opacity:.75} .grid{overflow-x:auto}
.key span{padding:1px 8px;border-radius:3px;color:#fff;margin-right:.4rem} svg{background:#8881;border-radius:4px} img{border-radius:4px}
"""


def write(report: Report, path: Path) -> Path:
    """The page beside the report at `path`; its name."""
    folder, page = path.with_suffix(".runs"), path.with_suffix(".html")
    s, parts = report.summary, []
    for group in GROUPS:
        rows = [r for r in report.rows if r["job"]["case"].startswith(group + "/")]
        if rows:
            counts = s["groups"].get(group) or next(v for k, v in s["groups"].items() if k.startswith(group))
            parts.append(f"<h2>{TITLES[group]} <small>{counts['passed']} of {counts['valid']} valid cells passed</small></h2>")
            for scenario in dict.fromkeys(_place(r)[0] for r in rows):
                parts.append(_scenario(scenario, [r for r in rows if _place(r)[0] == scenario], folder))
    key = "".join(f'<span style="background:{c}">{n}</span>' for n, c in COLOURS.items())
    machine = report.machine
    body = f"""<h1>Standard manoeuvres, from camera pictures alone</h1>
<p>These are our own runs after the procedures named, on a proving ground of our own making. They are <b>not a rating</b>, and no
authority or test laboratory had a part in them. Numbers of the procedures are second-hand where docs/protocols.md says so.</p>
<p>{s["passed_fraction"]:.1%} of the valid cells passed; {s["invalid"]} invalid; {s["n"]} run. UN R79 (3 m/s² and 5 m/s³ across):
{s["r79"]["passed"]} of {s["r79"]["n"]} runs in which we steered.</p><p class="key">{key}</p>
<p><code>{html.escape(report.command)}</code><br>{report.date}, commit {report.commit[:12]}, {html.escape(str(machine["cpu"]))}</p>
{"".join(parts)}"""
    text = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>nanopilot: protocols</title><style>{STYLE}</style><body>{body}'
    page.write_text(text + "</body></html>\n")
    return page


def _place(row: Row) -> tuple[str, str, str]:
    """Scenario, row and column of a run, one that raised included."""
    case = BY_NAME[row["job"]["case"]]
    friction = row["job"]["friction"]
    return case.scenario, case.row if friction == 1.0 else f"{case.row}, friction {friction:g}", case.column


def _scenario(name: str, rows: list[Row], folder: Path) -> str:
    columns = list(dict.fromkeys(_place(r)[2] for r in rows))
    columns.sort(key=lambda c: float(c.split()[0]) if c.split()[0].replace(".", "").isdigit() else 0.0)
    lines = list(dict.fromkeys(_place(r)[1] for r in rows))
    cells = {_place(r)[1:]: r for r in rows}
    unit = " km/h" if all(c.isdigit() for c in columns) else ""
    head = "".join(f"<th>{html.escape(c)}{unit}</th>" for c in columns)
    grid = "".join(f"<tr><th>{html.escape(line)}</th>{''.join(_cell(cells.get((line, c))) for c in columns)}</tr>" for line in lines)
    runs = "".join(_run(r, folder) for r in rows)
    return f'<h3>{html.escape(name)}</h3><div class="grid"><table><tr><th></th>{head}</tr>{grid}</table></div>{runs}'


def _cell(row: Row | None) -> str:
    if row is None:
        return '<td class="empty"></td>'
    status = "error" if "error" in row else row["status"]
    dark = ' class="dark"' if status == "not required" else ""
    return f'<td{dark} style="background:{COLOURS[status]}" title="{html.escape(_why(row))}">{html.escape(_figure(row))}</td>'


def _figure(row: Row) -> str:
    """The one number of a cell."""
    if "error" in row or row["status"] == "invalid":
        return "–"
    if row["criterion"] in ("line", "edge"):
        return f"{row['least_line' if row['criterion'] == 'line' else 'least_edge']:.2f} m"
    if row["criterion"] == "quiet":
        return f"{row['most_braking']:.1f} m/s²"
    if row["contact"]:
        return f"{row['impact'] / KPH:.0f} km/h"
    return "-" if row["least_gap"] is None else f"{row['least_gap']:.1f} m"


def _why(row: Row) -> str:
    if "error" in row:
        return row["error"]
    told = "" if row["warned"] is None else f", warned {row['ttc']:.1f} s before" if row["ttc"] is not None else ", warned"
    return f"{row['status']}{told} {'; '.join(row['why'] or row['invalid'])}"


def _run(row: Row, folder: Path) -> str:
    """One run to unfold; open only its name where its file is gone."""
    file = file_of(folder, row["job"])
    name = f"<b>{html.escape(', '.join(_place(row)[1:]))}</b>: {html.escape(_why(row))}"
    if not file.exists() or row.get("status") == "passed":  # what passed is told by its cell
        return "" if row.get("status") == "passed" else f"<p>{name}</p>"
    kept = json.loads(file.read_text())
    pictures = "".join(
        f'<figure><img width="{WIDTH}" src="data:image/jpeg;base64,{data}"><figcaption>{what}</figcaption></figure>'
        for what, data in sorted(kept["pictures"].items(), reverse=True)
    )
    series = kept["series"]
    plots = _plot(series, "speed", "km/h") + _plot(series, "line" if row.get("criterion") in ("line", "edge") else "gap", "m")
    log = file.with_suffix(".mcap")
    view = f"<p><code>nanopilot view {html.escape(f'{folder.name}/{log.name}')}</code></p>" if log.exists() else ""
    return f"<details><summary>{name}</summary>{plots}<br>{pictures}{view}</details>"


def _plot(series: dict[str, list], what: str, unit: str) -> str:
    """A line over time, coloured below by the guardian's stage."""
    t, values = series["t"], series[what]
    low, high = min(0.0, *values), max(1.0, *values)
    x = [(a - t[0]) / max(t[-1] - t[0], 1e-6) * WIDTH for a in t]
    y = [HEIGHT - 12 - (v - low) / (high - low) * (HEIGHT - 24) for v in values]
    points = " ".join(f"{a:.0f},{b:.1f}" for a, b in zip(x, y, strict=True))
    stages = "".join(
        f'<rect x="{a:.0f}" y="{HEIGHT - 6}" width="{b - a + 1:.0f}" height="6" fill="{STAGE_COLOURS[s]}"/>'
        for a, b, s in zip(x, x[1:], series["stage"], strict=False)
        if s
    )
    label = f"{what}, {unit}: {low:.0f} to {high:.0f}; {t[0]:.1f} to {t[-1]:.1f} s after the start"
    return (
        f'<figure><svg width="{WIDTH}" height="{HEIGHT}">{stages}'
        f'<polyline fill="none" stroke="#4b8bd6" stroke-width="2" points="{points}"/></svg>'
        f"<figcaption>{label}</figcaption></figure>"
    )
