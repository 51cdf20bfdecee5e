"""MetaDrive's own drivers on a road where nothing can go wrong."""

import pytest

from nanopilot.sim.peers import drive_peer


@pytest.mark.parametrize("name", ["idm", "expert"])
def test_a_peer_arrives_on_an_empty_straight_road(name):
    result = drive_peer(name, seed=5, map="S", traffic=0.0)
    assert result["arrived"] and not result["out_of_road"] and result["route_completion"] > 0.95
    assert 4.0 < result["mean_speed"] < 25.0


def test_an_unknown_peer_is_refused():
    with pytest.raises(ValueError, match="idm or expert"):
        drive_peer("driver", seed=0)
