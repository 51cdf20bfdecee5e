"""There is one door: what else makes a SafeCommand, and what safety imports."""

import ast
import importlib
from pathlib import Path

from nanopilot import safety
from nanopilot.messages import SafeCommand


def test_only_safety_makes_a_safe_command():
    root = Path(importlib.import_module("nanopilot").__file__).parent
    makers = set()
    for file in root.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if name == SafeCommand.__name__:
                    makers.add(file.relative_to(root).parts[0])
    assert makers == {"safety"}


def test_safety_imports_only_messages_and_the_standard_library():
    names = set()
    for file in Path(safety.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                names.add(node.module)
            elif isinstance(node, ast.Import):
                names |= {a.name for a in node.names}
    ours = {n for n in names if n.startswith("nanopilot.safety")} | {"nanopilot.messages"}
    assert names - ours == {"__future__", "dataclasses", "enum", "itertools", "math"}


def test_a_clock_that_was_never_right_still_gives_a_time():
    _, safe = safety.step(safety.initial(engaged=True), None, None, float("nan"))
    assert safe.t == 0.0 and safe.acceleration < 0.0
