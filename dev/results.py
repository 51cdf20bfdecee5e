"""Writes docs/results/README.md: a table a suite, made from the JSON reports beside it.

In: docs/results/*.json, as `nanopilot evaluate ... --json` writes them. Out: the page. Every figure in it is one of a report's summary;
nothing is typed by hand. Run: python dev/results.py
"""

from __future__ import annotations

import json
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "docs" / "results"
HEAD = """# Results

Made by `python dev/results.py` from the JSON reports in this folder; each report has its rows, commit, date and machine, and
the command that made it. The number in brackets is the 95 % interval (Wilson for shares, normal for means; for perception,
bootstrap over drives, tracks or maps). Seeds 1000-1099 are held out: nothing is trained or tuned on them. Training maps are
2000-2499, tuning maps 3000-3029, maps for perception figures 4000-4029.
"""


def cell(value: object, interval: object) -> str:
    """A figure with its interval, as a reader wants it."""
    if isinstance(value, float):
        text = f"{value:.3g}"
        if isinstance(interval, list):
            text += f" [{interval[0]:.3g}, {interval[1]:.3g}]"
        return text
    return str(value)


def flat(summary: dict, above: str = "") -> dict:
    """A summary of several sets as one of dotted names."""
    out = {}
    for key, value in summary.items():
        out |= flat(value, f"{above}{key}.") if isinstance(value, dict) else {f"{above}{key}": value}
    return out


def interval(summary: dict, key: str) -> object:
    return summary.get(f"{key}_95") or summary.get(f"{key}_interval")


def _name(job: dict) -> str:
    if "fault" in job:
        return f"{job['fault']}, {job['moment']}"
    return f"{job['ablation']}, {job['seed']}" if "ablation" in job else job.get("case", str(job["seed"]))


def _passed(row: dict) -> bool:
    return row["status"] in ("passed", "not required") if "status" in row else bool(row.get("success", row.get("passed")))


def _why(row: dict) -> str:
    told = row.get("contacts") or row.get("why") or row.get("invalid") or row.get("reason") or row.get("error") or "?"
    return ", ".join(told) if isinstance(told, list) else told


def section(path: Path) -> str:
    """One report as a heading, its origin and a two-column table."""
    report = json.loads(path.read_text())
    summary = report["summary"]
    machine = ", ".join(f"{key} {value}" for key, value in report["machine"].items())
    origin = f"`{report['command']}`  \n{report['date']}, commit {report['commit']}, {machine}\n"
    lines = [f"\n## {path.stem}\n", origin, "| | |", "|---|---|"]
    for key, value in flat(summary).items():
        if not key.endswith(("_95", "_interval", "groups")):
            lines.append(f"| {key} | {cell(value, interval(flat(summary), key))} |")
    failed = [row for row in report.get("rows", ()) if "job" in row and not _passed(row)]
    if failed:
        why = (f"{_name(row['job'])} ({_why(row)})" for row in failed)
        lines.append(f"\nNot passed: {'; '.join(why)}.")
    return "\n".join(lines)


if __name__ == "__main__":
    reports = sorted(p for p in FOLDER.glob("*.json"))
    (FOLDER / "README.md").write_text(HEAD + "\n".join(section(p) for p in reports) + "\n")
    print(f"{FOLDER / 'README.md'}: {len(reports)} reports")
