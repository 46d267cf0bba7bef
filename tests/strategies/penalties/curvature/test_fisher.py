"""The diagonal Fishers against one backward pass per example and label, and against the dense Jacobian."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from scenarios.errors import UserError
from scenarios.random import Randomness
from strategies.networks.network import Network
from strategies.networks.unit import Unit
from strategies.penalties.curvature import per_example
from strategies.penalties.curvature.fisher import DiagonalFisher
from strategies.penalties.flat import Flat
from tests.strategies.driver import equal

BLOCKS = [range(0, 2), range(2, 5)]
OUTPUTS = range(2, 5)


def linear_network() -> Network:
    torch.manual_seed(0)
    first, second = Unit(nn.Linear(12, 5), nn.BatchNorm1d(5)), Unit(nn.Linear(5, 4, bias=False))
    backbone = nn.Sequential(nn.Flatten(), first, nn.ReLU(inplace=True), second)
    return settle(Network(backbone, 4, BLOCKS))


def convolutional_network() -> Network:
    torch.manual_seed(0)
    first = Unit(nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4))
    second = Unit(nn.Conv2d(4, 4, (2, 1), stride=2, dilation=1, groups=2))
    backbone = nn.Sequential(first, nn.ReLU(inplace=True), nn.MaxPool2d(2), second, nn.ReLU(inplace=True), nn.Flatten())
    return settle(Network(backbone, 16, BLOCKS))


def settle(network: Network) -> Network:
    """Batch norms with statistics and affine parts of their own."""
    network = network.double()
    for module in network.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            for tensor in (module.running_mean, module.weight.data, module.bias.data):
                tensor.add_(0.3 * torch.randn(tensor.shape, dtype=tensor.dtype))
            module.running_var.add_(torch.rand(module.running_var.shape, dtype=torch.float64))
    return network


CASES = {"linear": (linear_network, (1, 3, 4)), "convolutional": (convolutional_network, (2, 8, 6))}


@pytest.fixture(params=sorted(CASES))
def case(request) -> tuple[Network, Tensor, Tensor]:
    make, shape = CASES[request.param]
    network = make()
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(9, *shape, generator=generator, dtype=torch.float64)
    return network, x, torch.randint(OUTPUTS.start, OUTPUTS.stop, (9,), generator=generator)


def measure(network: Network, x: Tensor, y: Tensor, estimator: str, batch: int = 4, seed: int = 0) -> Tensor:
    fisher = DiagonalFisher(network, Flat(network.parameters()), estimator, Randomness(seed))
    fisher.reset()
    for part_x, part_y in zip(x.split(batch), y.split(batch)):
        fisher.observe(part_x, part_y, OUTPUTS)
    return fisher.mean()


def gradient(network: Network, scalar: Tensor) -> Tensor:
    parameters = list(network.parameters())
    found = torch.autograd.grad(scalar, parameters, allow_unused=True, retain_graph=True)
    return torch.cat([torch.zeros_like(p).flatten() if g is None else g.flatten() for p, g in zip(parameters, found)])


def log_p(network: Network, x: Tensor) -> Tensor:
    network.eval()
    return network(x, OUTPUTS)[:, OUTPUTS.start : OUTPUTS.stop].log_softmax(1)


def test_exact_is_the_expectation_over_labels_one_backward_pass_each(case):
    network, x, y = case
    expected = torch.zeros(len(Flat(network.parameters())), dtype=torch.float64)
    for n in range(len(x)):
        row = log_p(network, x[n : n + 1])[0]
        for c in range(len(row)):
            expected += row[c].detach().exp() * gradient(network, row[c]) ** 2
    assert torch.allclose(measure(network, x, y, "exact"), expected / len(x), rtol=1e-10, atol=1e-14)
    assert expected.max() > 0


def test_exact_is_the_diagonal_of_the_dense_gauss_newton_matrix(case):
    network, x, y = case
    network.eval()
    parameters = {name: parameter.detach() for name, parameter in network.named_parameters()}

    def logits(values: dict[str, Tensor]) -> Tensor:
        return torch.func.functional_call(network, values, (x, OUTPUTS))[:, OUTPUTS.start : OUTPUTS.stop]

    jacobian = torch.func.jacrev(logits)(parameters)
    J_NCP = torch.cat([part.flatten(2) for part in jacobian.values()], 2)
    p_NC = logits(parameters).softmax(1)
    hessian_NCC = torch.diag_embed(p_NC) - p_NC[:, :, None] * p_NC[:, None, :]
    dense_PP = torch.einsum("ncp,ncd,ndq->pq", J_NCP, hessian_NCC, J_NCP) / len(x)
    assert torch.allclose(measure(network, x, y, "exact"), dense_PP.diagonal(), rtol=1e-9, atol=1e-14)


def test_empirical_takes_the_true_label(case):
    network, x, y = case
    rows = [log_p(network, x[n : n + 1])[0, y[n] - OUTPUTS.start] for n in range(len(x))]
    expected = sum(gradient(network, row) ** 2 for row in rows) / len(x)
    assert torch.allclose(measure(network, x, y, "empirical"), expected, rtol=1e-10, atol=1e-14)


def test_batch_squares_the_gradient_of_each_batch(case):
    network, x, y = case
    expected = []
    for part_x, part_y in zip(x.split(4), y.split(4)):
        network.eval()
        expected.append(gradient(network, nn.functional.cross_entropy(network(part_x, OUTPUTS), part_y)) ** 2)
    assert torch.allclose(measure(network, x, y, "batch"), sum(expected) / len(expected), rtol=1e-10, atol=1e-14)


def test_sampled_tends_to_exact_and_ignores_the_labels(case):
    network, x, y = case
    exact = measure(network, x, y, "exact")
    many = x.repeat(300, 1, 1, 1)
    sampled = measure(network, many, y.repeat(300), "sampled", batch=900)
    assert torch.equal(sampled, measure(network, many, y.repeat(300).flip(0), "sampled", batch=900))
    assert (sampled - exact).norm() < 0.06 * exact.norm()


def test_sampled_draws_anew_for_each_batch_and_seed(case):
    network, x, y = case
    first, other = measure(network, x, y, "sampled"), measure(network, x, y, "sampled", seed=1)
    assert not torch.equal(first, other)
    twice = measure(network, torch.cat([x, x]), torch.cat([y, y]), "sampled", batch=9)
    assert not torch.allclose(twice, measure(network, x, y, "sampled", batch=9))


@pytest.mark.parametrize("estimator", ["exact", "empirical"])
def test_the_result_does_not_depend_on_batches_or_pieces(case, estimator, monkeypatch):
    network, x, y = case
    whole = measure(network, x, y, estimator, batch=9)
    monkeypatch.setattr(per_example, "PIECE", 100)
    assert torch.allclose(whole, measure(network, x, y, estimator, batch=2), rtol=1e-12, atol=1e-16)


def test_outputs_out_of_play_have_no_fisher(case):
    network, x, y = case
    flat = Flat(network.parameters())
    vector = flat.zeros()
    vector.flat.copy_(measure(network, x, y, "exact"))
    out = {id(parameter) for parameter in network.head.blocks[0].parameters()}
    for view, parameter in zip(vector.views, flat.parameters):
        assert bool((view == 0).all()) == (id(parameter) in out)


@pytest.mark.parametrize("estimator", ["exact", "sampled", "empirical", "batch"])
def test_the_network_is_left_as_it_was(case, estimator):
    network, x, y = case
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.train()
    measure(network, x, y, estimator)
    assert equal(before, dict(network.state_dict()))
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not any(module._forward_hooks for module in network.modules())


def test_channels_last_gives_the_same_numbers():
    network, shape = convolutional_network(), (2, 8, 6)
    x = torch.randn(9, *shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    y = torch.full((9,), 2)
    plain = Flat(network.parameters()).zeros()
    plain.flat.copy_(measure(network, x, y, "exact"))
    last = network.to(memory_format=torch.channels_last)
    vector = Flat(last.parameters()).zeros()
    vector.flat.copy_(measure(last, x.to(memory_format=torch.channels_last), y, "exact"))
    assert all(torch.allclose(*pair, rtol=1e-10, atol=1e-14) for pair in zip(plain.views, vector.views))


def test_an_unknown_layer_is_refused_in_one_line():
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1) * self.scale

    network = Network(Odd(), 12, BLOCKS)
    with pytest.raises(UserError, match="not Odd.*fisher=batch"):
        DiagonalFisher(network, Flat(network.parameters()), "exact", Randomness(0))
    DiagonalFisher(network, Flat(network.parameters()), "batch", Randomness(0)).observe(torch.ones(2, 12), torch.tensor([2, 3]), OUTPUTS)
