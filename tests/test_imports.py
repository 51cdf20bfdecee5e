"""Who may import whom, beyond what import-linter states."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "nanopilot"


def imported(folder: Path) -> set[str]:
    """Every module named in an import statement below a folder."""
    names = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {a.name for a in node.names}
            elif isinstance(node, ast.ImportFrom):
                names.add(node.module or "")
    return names


def test_safety_imports_messages_and_the_standard_library_alone():
    names = imported(PACKAGE / "safety")
    assert "nanopilot.messages" in names
    foreign = {n for n in names if n.split(".")[0] not in sys.stdlib_module_names}
    assert not {n for n in foreign if not n.startswith(("nanopilot.messages", "nanopilot.safety"))}


def test_messages_import_nothing_of_ours():
    path = PACKAGE / "messages.py"
    names = {n.module for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.ImportFrom)}
    assert not any((n or "").startswith("nanopilot") for n in names)


@pytest.mark.parametrize("module", ["nanopilot.pilot", "nanopilot.evaluate.show", "nanopilot.evaluate.routes"])
def test_driving_loads_no_torch_and_the_pilot_no_simulator(module):
    code = f"import {module}, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "torch" not in loaded
    if module == "nanopilot.pilot":
        assert not [m for m in loaded if m.startswith(("nanopilot.sim", "nanopilot.bodies", "metadrive"))]


def test_the_command_line_loads_nothing_heavy_before_it_knows_what_to_do():
    code = "import nanopilot.cli, sys; print(*sys.modules)"
    loaded = set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())
    assert not loaded & {"numpy", "cv2", "scipy", "numba", "openvino", "metadrive"}
