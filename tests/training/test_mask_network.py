"""The network to be trained is the agent's mask, and its recurrence is torch's own, gradient included."""

import numpy as np
import pytest

from agent.dsp.auscultation_features import FEATURES
from agent.dsp.auscultation_mask import CAUTION, FLOOR_DB, MODES, TrainedMask, floor_of, unpacked
from agent.dsp.auscultation_trust import KNOWN, Trust
from training.frames import features_of, spectra_of

torch = pytest.importorskip("torch", reason="the extra `training` is not installed")

from training.mask_network import Network  # noqa: E402 - needs torch


def test_it_gives_the_agents_gains():
    spectra = spectra_of(0.05 * np.random.default_rng(3).standard_normal((1, 64 * 120)))
    network = Network(half=False)
    weights = unpacked(network.exported())
    for name, parameter in network.named().items():
        value = weights[name]
        assert np.abs(parameter.detach().numpy() - value).max() <= np.abs(value).max() / 250, name  # half a step
        parameter.data = torch.from_numpy(value)
    as_trained = network.gain.bias.detach().clone()
    for i, mode in enumerate(MODES):
        network.gain.bias.data = as_trained + CAUTION[mode]
        gains = TrainedMask(mode, weights).gains(spectra[0])
        kept = network(torch.from_numpy(features_of(spectra)), torch.eye(len(MODES))[i : i + 1]).detach().numpy()[:, 0]
        if mode == "lung":
            odds, lowest_db = Trust().of(spectra[0], kept[:, KNOWN])
            kept, floor = 1 / (1 + (1 / kept - 1) * np.exp(-odds[:, None])), floor_of(lowest_db)
        else:
            floor = floor_of(FLOOR_DB[mode])
        assert np.abs(gains - (floor + (1 - floor) * kept)).max() < 1e-5
        assert (gains >= floor).all()


def by_torch(network, features, mode, *, half):
    """What the network computes, by torch's own recurrence, in single precision."""
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
        hidden = torch.relu(network.dense(torch.cat([features, mode.expand(len(features), -1, -1)], dim=2)))
    state, _ = network.recurrent(hidden.float())
    return torch.sigmoid(network.gain(torch.cat([state, hidden.float()], dim=2)))


@pytest.mark.parametrize(("half", "off", "gradient_off"), [(False, 1e-6, 0.005), (True, 0.01, 0.02)])
def test_gains_and_gradients_are_those_of_torchs_own_recurrence(half, off, gradient_off):
    """In single precision but for one product of the gradient, in half precision as far as that goes (8 bits)."""
    torch.manual_seed(1)
    network = Network(units=24, half=half)
    features, mode = torch.randn(40, 6, FEATURES), torch.eye(3).repeat(2, 1)
    wanted = torch.randn(40, 6, 129)
    own, reference = network(features, mode), by_torch(network, features, mode, half=half)
    assert (own - reference).abs().max() < off
    gradients = []
    for kept in (own, reference):
        network.zero_grad()
        (kept * wanted).sum().backward()
        gradients.append([parameter.grad.clone() for parameter in network.parameters()])
    for a, b in zip(*gradients, strict=True):
        assert (a - b).norm() < gradient_off * b.norm()
