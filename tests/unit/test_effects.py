"""What products do: against the formula of the product merge, and against a network built without the product."""

import pytest
import torch

import hadnas
from hadnas.arch.read import complete
from hadnas.blocks.product import Product
from hadnas.blocks.residual import Residual
from hadnas.blocks.star import Star
from hadnas.contract.cases import randomise
from hadnas.errors import MeasurementError
from hadnas.space import op
from tests.networks import pyramid, residual

TASK = hadnas.Task.image(3, 16, 16, classes=4)


@pytest.fixture
def network(request: pytest.FixtureRequest) -> torch.nn.Module:
    torch.manual_seed(0)
    blocks = [
        residual(op("mlp"), merge=op("product", project=True, norm=getattr(request, "param", None))),
        residual(op("star")),
    ]
    return randomise(hadnas.build(complete(pyramid((8, blocks)), TASK), TASK)).eval()


@pytest.mark.parametrize("network", [None, "batchnorm2d"], indirect=True)
def test_ratio_and_accuracy_by_hand(network: torch.nn.Module) -> None:
    images, labels = torch.randn(600, 3, 16, 16), torch.randint(0, 4, (600,))  # three batches, the last a part
    found = hadnas.product_effects(network, images, labels, batch=256)
    assert [effect.path for effect in found] == ["stages.0.blocks.0.merge", "stages.0.blocks.1.block"]
    assert [effect.node for effect in found] == ["stages.0.blocks.0", "stages.0.blocks.1"]
    first, second = network.stages[0].blocks
    assert isinstance(first, Residual) and isinstance(first.merge, Product) and isinstance(second.block, Star)
    with torch.inference_mode():
        x = network.stages[0].down(network.stem(images))
        b = first.block(first.norm(x))
        merged, plain = first(x), x + b  # a + b + alpha norm(P(ab)), and a + b
        assert found[0].ratio == pytest.approx(float((merged - plain).norm() / plain.norm()), rel=1e-4)
        accuracy = float((network(images).argmax(1) == labels).double().mean())
        first.merge.alpha.zero_()
        without = float((network(images).argmax(1) == labels).double().mean())
    assert (found[0].whole, found[0].without, found[0].n) == (accuracy, without, 600)
    assert found[0].lost == accuracy - without
    assert found[1].ratio > 0


def test_modes_and_weights_stay(network: torch.nn.Module) -> None:
    network.train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    hadnas.product_effects(network, torch.randn(4, 3, 16, 16), torch.zeros(4, dtype=torch.int64))
    assert all(module.training for module in network.modules())
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


class Fused(torch.nn.Module):
    """a + 2 u v, in one operation."""

    def __init__(self, in_place: bool) -> None:
        super().__init__()
        self.fc = torch.nn.Linear(12, 3)
        self.in_place = in_place

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = self.fc(x.flatten(1))
        u, v = a.sin(), a.cos()
        return a.addcmul_(u, v, value=2) if self.in_place else torch.addcmul(a, u, v, value=2)


def test_products_inside_fused_operations() -> None:
    torch.manual_seed(0)
    images, labels = torch.randn(5, 3, 2, 2), torch.zeros(5, dtype=torch.int64)
    network = Fused(False)
    (effect,) = hadnas.product_effects(network, images, labels)
    with torch.no_grad():
        a = network.fc(images.flatten(1))
        assert effect.ratio == pytest.approx(float((2 * a.sin() * a.cos()).norm() / a.norm()), rel=1e-5)
    with pytest.raises(MeasurementError, match="cannot be set to zero"):
        hadnas.product_effects(Fused(True), images, labels)


def test_images_without_labels_are_refused(network: torch.nn.Module) -> None:
    with pytest.raises(MeasurementError, match="labels"):
        hadnas.product_effects(network, torch.randn(4, 3, 16, 16), torch.zeros(3, dtype=torch.int64))


class Recurrent(torch.nn.Module):
    """Rows of pixels through a recurrent layer, read at its end."""

    def __init__(self, kind: type[torch.nn.Module]) -> None:
        super().__init__()
        self.layer, self.fc = kind(6, 4, batch_first=True), torch.nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.layer(x.transpose(1, 2).flatten(2))[0][:, -1])


@pytest.mark.parametrize("kind", [torch.nn.LSTM, torch.nn.GRU])
def test_a_recurrent_layer_has_the_products_that_are_counted(kind: type[torch.nn.Module]) -> None:
    """Though it gives a tuple, and on a CPU torch may run it as one operation."""
    torch.manual_seed(0)
    network = Recurrent(kind)
    found = hadnas.product_effects(network, torch.randn(5, 3, 2, 2), torch.zeros(5, dtype=torch.int64))
    assert hadnas.cost(network, (3, 2, 2)).products == 4 * len(found) > 0
    assert all(effect.node == "layer" for effect in found) and max(effect.ratio for effect in found) > 0


def test_the_first_of_a_cumulative_product_is_none() -> None:
    class First(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = x.flatten(1)
            return torch.stack([x, x.sin()]).cumprod(0)[0]

    (effect,) = hadnas.product_effects(First(), torch.randn(5, 3, 2, 2), torch.zeros(5, dtype=torch.int64))
    assert effect.ratio == 0
