"""What TrainedMask (agent/dsp/auscultation_mask.py) computes, to be trained; the recurrence with a gradient of its own.

torch's own takes about twice as long: its gradient fills and adds whole sequences for the views of each step.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import linear

from agent.dsp.auscultation_features import BINS, FEATURES
from agent.dsp.auscultation_mask import MODES

UNITS = 160


class Recurrence(torch.autograd.Function):
    """States (frames, n, units) of a gated recurrent unit (Cho 2014, in torch's form), from zero on.

    `entering` (frames, n, 3 units): what the input gives to reset, update and new; `weight` (units, 3 units) takes a
    state to the three, `bias` (units,) is added to what it gives to the new one.
    """

    @staticmethod
    def forward(ctx: Any, entering: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Step through the frames."""
        frames, n, units = *entering.shape[:2], len(bias)
        states = torch.zeros(frames + 1, n, units)
        gates, new = torch.empty(frames, n, 3 * units), torch.empty(frames, n, units)
        steps = (states.unbind()[:-1], entering.unbind(), gates.unbind(), new.unbind(), states.unbind()[1:])
        for before, enter, gate, fresh, after in zip(*steps, strict=True):
            torch.mm(before, weight, out=gate)
            both, kept = gate.split((2 * units, units), dim=1)
            into_both, into_new = enter.split((2 * units, units), dim=1)
            both.add_(into_both).sigmoid_()
            reset, update = both.split(units, dim=1)
            kept.add_(bias)
            torch.addcmul(into_new, reset, kept, out=fresh).tanh_()
            torch.lerp(fresh, before, update, out=after)
        ctx.save_for_backward(states, gates, new, weight)
        return states[1:]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Step back through the frames."""
        states, gates, new, weight = ctx.saved_tensors
        frames, n, units = new.shape
        back, slopes = torch.empty(frames, n, 3 * units), torch.empty(frames, n, units)
        turned = weight.t().contiguous()
        carried, stays = torch.zeros(n, units), torch.empty(n, units)
        steps = (gradient.unbind(), states.unbind()[:-1], gates.unbind(), new.unbind(), back.unbind(), slopes.unbind())
        for given, before, gate, fresh, gone, slope in reversed(list(zip(*steps, strict=True))):
            reset, update, kept = gate.split(units, dim=1)
            to_reset, to_update, to_kept = gone.split(units, dim=1)
            carried += given
            torch.mul(carried, update, out=stays)
            changes = carried.sub_(stays)
            torch.mul(fresh, fresh, out=slope)
            torch.addcmul(changes, changes, slope, value=-1, out=slope)
            torch.sub(before, fresh, out=to_update).mul_(update).mul_(changes)
            torch.mul(slope, reset, out=to_kept)
            torch.mul(to_kept, kept, out=to_reset)
            to_reset.addcmul_(to_reset, reset, value=-1)
            torch.addmm(stays, gone, turned, out=carried)
        of_gates = back.flatten(0, 1).bfloat16()
        to_weight = (states[:-1].flatten(0, 1).bfloat16().t() @ of_gates).float()
        to_bias = back[:, :, 2 * units :].sum(dim=(0, 1))
        back[:, :, 2 * units :] = slopes
        return back, to_weight, to_bias


class Network(nn.Module):
    """The mask; `half`: its large products in half precision."""

    def __init__(self, units: int = UNITS, *, half: bool = True) -> None:
        super().__init__()
        self._half = half
        self.dense = nn.Linear(FEATURES + len(MODES), units)
        self.recurrent = nn.GRU(units, units)  # holds the weights
        self.gain = nn.Linear(2 * units, BINS)

    def matrices(self) -> list[nn.Parameter]:
        """Give the weights between layers; not those to the gains, which Adam serves better."""
        return [self.dense.weight, self.recurrent.weight_ih_l0, self.recurrent.weight_hh_l0]

    def forward(self, features: Tensor, mode: Tensor) -> Tensor:
        """Give the gains between floor (0) and 1, (frames, batch, 129).

        From features (frames, batch, 207) and one-hot modes (batch, 3).
        """
        own, units = self.recurrent, self.recurrent.hidden_size
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self._half):
            hidden = torch.relu(self.dense(torch.cat([features, mode.expand(len(features), -1, -1)], dim=2)))
            entering = linear(hidden, own.weight_ih_l0)
        bias = own.bias_ih_l0 + torch.cat([own.bias_hh_l0[: 2 * units], torch.zeros(units)])
        states = Recurrence.apply(entering + bias, own.weight_hh_l0.t().contiguous(), own.bias_hh_l0[2 * units :])
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self._half):
            opening: Tensor = self.gain(torch.cat([states.to(hidden.dtype), hidden], dim=2))
        return torch.sigmoid(opening.float())

    def named(self) -> dict[str, nn.Parameter]:
        """Weights as TrainedMask names them."""
        return {
            "dense_w": self.dense.weight, "dense_b": self.dense.bias,
            "input_w": self.recurrent.weight_ih_l0, "input_b": self.recurrent.bias_ih_l0,
            "state_w": self.recurrent.weight_hh_l0, "state_b": self.recurrent.bias_hh_l0,
            "gain_w": self.gain.weight, "gain_b": self.gain.bias,
        }  # fmt: skip

    def exported(self) -> dict[str, NDArray[np.int8] | NDArray[np.float32]]:
        """Weights in whole steps of a 127th of each row's largest, and these steps."""
        stored: dict[str, NDArray[np.int8] | NDArray[np.float32]] = {}
        for name, parameter in self.named().items():
            value = parameter.detach().numpy()
            step = np.abs(value).max(axis=-1, keepdims=True) / 127
            stored |= {name: np.round(value / step).astype(np.int8), f"{name}_step": step}
        return stored
