"""World + route -> Plan: behaviour, conflicts, longitudinal and lateral MPC. `planner.step` is the stage."""

from nanopilot.planning.planner import Config, State, initial, step

__all__ = ["Config", "State", "initial", "step"]
