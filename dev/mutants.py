"""Mutation testing of the safety package and of the guardian's decisions: change their code in one place, run the tests: do they notice?

    python dev/mutants.py [--jobs 1] [--only limits.py] [--sample 40] [--json FILE] [--again]

Mutations, one at a time, of every file in nanopilot/safety and of assist/guardian.py: comparisons flipped, numbers changed, booleans
negated, arithmetic exchanged, and/or and min/max exchanged, conditions negated, returns emptied, enum members, texts and the table of
modes changed.
Killed: tests ran and failed, or the module could not even be imported. Survived: all passed. Crashed: anything else, a timeout
included; it counts as a failure of ours, not as killed. Each mutant runs in a fork that has pytest loaded; no code is written to disk.
--again tries only those that FILE says lived, after tests were added. --sample tries so many of each file, drawn with a fixed seed:
its fraction is an estimate, and says so.
"""

from __future__ import annotations

import argparse
import ast
import copy
import gc
import importlib.machinery
import io
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from itertools import chain
from pathlib import Path

import hypothesis.stateful  # loaded here once, so that the forks have it
import numpy  # noqa: F401  loaded once too
import pytest

import nanopilot.messages  # noqa: F401  as numpy; safety itself must not be loaded yet

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "nanopilot" / "safety"
GUARDIAN = ROOT / "nanopilot" / "assist" / "guardian.py"
FILES = [*sorted(PACKAGE.glob("*.py")), GUARDIAN]
TESTS = ROOT / "tests" / "safety"
FIRST = {
    "__init__.py": "test_modes.py",
    "modes.py": "test_modes.py",
    "inputs.py": "test_inputs.py",
    "limits.py": "test_limits.py",
    "rss.py": "test_rss.py",
    "follow.py": "test_follow.py",
    "watchdog.py": "test_follow.py",
    "walker.py": "test_walker_door.py",
    "keep_out.py": "test_walker_door.py",
}  # fmt: skip  the tests most likely to notice run first
TIMEOUT = 120  # s
COMPARE = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot,
           ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In}  # fmt: skip
REVERSE = {ast.Lt: ast.GtE, ast.LtE: ast.Gt, ast.Gt: ast.LtE, ast.GtE: ast.Lt}
ARITHMETIC = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult}
CALLS = {"min": "max", "max": "min", "sin": "cos", "cos": "sin", "any": "all", "all": "any", "abs": "float"}


def mutations(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """(what, the node to put in its place) for every way this node can be changed."""
    if isinstance(node, ast.Compare):
        for k, op in enumerate(node.ops):
            for table in (COMPARE, REVERSE):
                if type(op) in table:
                    new = copy.deepcopy(node)
                    new.ops[k] = table[type(op)]()
                    yield f"{type(op).__name__} -> {type(new.ops[k]).__name__}", new
    elif isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC:
        new = copy.deepcopy(node)
        new.op = ARITHMETIC[type(node.op)]()
        yield f"{type(node.op).__name__} -> {type(new.op).__name__}", new
    elif isinstance(node, ast.BoolOp):
        new = copy.deepcopy(node)
        new.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield "and <-> or", new
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
        yield f"{type(node.op).__name__} dropped", node.operand
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield f"{node.value} negated", ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        yield f"{node.value} -> {node.value * 1.1 + 0.1:g}", ast.Constant(node.value * 1.1 + 0.1)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value:
        yield f"{node.value!r} -> 'mutant'", ast.Constant("mutant")
    elif isinstance(node, (ast.If, ast.IfExp)):
        new = copy.deepcopy(node)
        new.test = ast.UnaryOp(ast.Not(), new.test)
        yield "condition negated", new
    elif isinstance(node, ast.Return) and isinstance(node.value, ast.Constant) and node.value.value == "":
        yield "return 'mutant'", ast.Return(ast.Constant("mutant"))
    elif isinstance(node, ast.Return) and node.value is not None:
        yield "return None", ast.Return(ast.Constant(None))
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CALLS:
        new = copy.deepcopy(node)
        new.func = ast.Name(CALLS[node.func.id], ast.Load())
        yield f"{node.func.id} -> {CALLS[node.func.id]}", new
    elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in ("Mode", "Event", "Signal", "Alert"):
        first = {"Mode": "OFF", "Event": "GOOD", "Signal": "OFF", "Alert": "NONE"}[node.value.id]
        if node.attr != first:
            yield f"{node.value.id}.{node.attr} -> {first}", ast.Attribute(node.value, first, ast.Load())
    elif isinstance(node, ast.Continue):
        yield "continue -> pass", ast.Pass()
    elif isinstance(node, ast.Tuple) and all(isinstance(e, ast.Name) and e.id.isupper() and isinstance(e.ctx, ast.Load) for e in node.elts):
        for k, old in enumerate(node.elts):  # a row of the table of modes
            new = copy.deepcopy(node)
            new.elts[k] = ast.copy_location(ast.Name("READY" if old.id == "OFF" else "OFF", ast.Load()), old)
            yield f"entry {k} {old.id} -> {new.elts[k].id}", new


def mutants(path: Path) -> Iterator[tuple[str, ast.Module]]:
    """(description with its line, the changed module); docstrings, imports, __all__ and annotations are left alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            skipped.add(id(node.value))
        elif isinstance(node, (ast.arg, ast.AnnAssign, ast.FunctionDef)):
            annotation = node.returns if isinstance(node, ast.FunctionDef) else node.annotation
            skipped |= {id(n) for n in ast.walk(annotation)} if annotation else set()
        if isinstance(node, ast.Assign) and any(getattr(t, "id", "") == "__all__" for t in node.targets):
            skipped |= {id(n) for n in ast.walk(node.value)}
    for parent in ast.walk(tree):
        for field, value in ast.iter_fields(parent):
            for k, child in enumerate(value if isinstance(value, list) else [value]):
                if not isinstance(child, ast.AST) or id(child) in skipped:
                    continue
                for what, new in mutations(child):
                    ast.copy_location(new, child)
                    _put(parent, field, k, new)
                    yield f"{path.name}:{child.lineno}:{child.col_offset} {what}", ast.fix_missing_locations(copy.deepcopy(tree))
                    _put(parent, field, k, child)


def _put(parent: ast.AST, field: str, k: int, node: ast.AST) -> None:
    value = getattr(parent, field)
    if isinstance(value, list):
        value[k] = node
    else:
        setattr(parent, field, node)


def fork(path: Path, tree: ast.Module) -> int:
    """Start a child that runs the tests on the changed module; its exit code is pytest's, or 100 where the import failed."""
    pid = os.fork()
    if pid:
        return pid
    code = 5
    try:
        signal.setitimer(signal.ITIMER_PROF, TIMEOUT)  # of processor time: other work on the machine is no hang
        signal.alarm(10 * TIMEOUT)
        changed, original = compile(tree, str(path), "exec"), importlib.machinery.SourceFileLoader.get_code
        importlib.machinery.SourceFileLoader.get_code = lambda self, name: changed if self.path == str(path) else original(self, name)
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            try:
                if path == GUARDIAN:
                    import nanopilot.assist.guardian
                else:
                    import nanopilot.safety.keep_out
                    import nanopilot.safety.rss
                    import nanopilot.safety.walker
                    import nanopilot.safety.watchdog  # noqa: F401  these import all of the package
            except Exception:
                code = 100
            else:
                first = TESTS / FIRST.get(path.name, "test_modes.py")
                rest = [t for t in sorted(TESTS.glob("test_*.py")) if t != first]
                rounds = [[ROOT / "tests" / "assist" / "test_guardian.py"]] if path == GUARDIAN else [[first], rest]
                for tests in rounds:
                    code = int(pytest.main(["-x", "-q", "-n", "0", "-p", "no:cacheprovider", *map(str, tests)]))
                    if code != 0:
                        break
    finally:
        os._exit(code)


def drawn(path: Path, n: int) -> list[str]:
    """The mutants of a file to be tried: all, or `n` drawn with a fixed seed."""
    known = [d for d, _ in mutants(path)]
    return random.Random(path.name).sample(known, n) if 0 < n < len(known) else known


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only", default="", help="one file's name")
    parser.add_argument("--sample", type=int, default=0, help="so many of each file; 0: all")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--again", action="store_true")
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    assert not any(name.startswith(("nanopilot.safety", "nanopilot.assist")) for name in sys.modules)
    files = [p for p in FILES if options.only in ("", p.name)]
    before = json.loads(options.json.read_text()) if options.again else {"killed": 0, "rest": {}}
    chosen = set(before["rest"]) if options.again else {d for p in files for d in drawn(p, options.sample)}
    total = len(chosen)
    gc.freeze()  # what is loaded stays shared between the forks
    phases = [hypothesis.Phase.explicit, hypothesis.Phase.generate]  # a failure is enough, nobody reads the example
    hypothesis.settings.register_profile("mutants", phases=phases, database=None, derandomize=True)
    hypothesis.settings.load_profile("mutants")
    for path in {GUARDIAN} & set(files) | ({PACKAGE / "__init__.py"} if set(files) - {GUARDIAN} else set()):
        clean = fork(path, ast.parse(path.read_text(encoding="utf-8")))
        if os.waitstatus_to_exitcode(os.waitpid(clean, 0)[1]) != 0:
            print(f"the tests fail without any mutation of {path.name}")
            return 2
    results: dict[str, str] = {}
    running: dict[int, str] = {}
    start = time.monotonic()
    for path, description, tree in chain(((p, d, t) for p in files for d, t in mutants(p) if d in chosen), [(None, "", None)]):
        while len(running) >= options.jobs or (path is None and running):
            pid, status = os.wait()
            code = os.waitstatus_to_exitcode(status)
            result = {0: "survived", 1: "killed", 100: "killed"}.get(code, f"crashed ({code})")
            results[running.pop(pid)] = result
            if result != "killed" or len(results) % 100 == 0:
                print(f"{len(results):4}/{total} {result:10} {list(results)[-1]}", flush=True)
        if path is not None:
            running[fork(path, tree)] = description
    rest = {d: r for d, r in results.items() if r != "killed"}
    killed = before["killed"] + len(results) - len(rest)
    n = killed + len(rest)
    part = f" in a sample of {options.sample} a file" if options.sample else ""
    share = killed / max(n, 1)
    print(f"{killed} of {n} killed ({share:.1%}){part}, now {dict(Counter(results.values()))}, {time.monotonic() - start:.0f} s")
    if options.json:
        found = {"sample": options.sample, "killed": killed, "n": n, "fraction": share, "rest": rest}
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0 if killed >= 0.95 * n else 1


if __name__ == "__main__":
    sys.exit(main())
