"""The two convolutions of ResNet's basic block: the plain convolutional control."""

from typing import Any

from torch import Tensor, nn

from hadnas.blocks.layers import Act, Norm, activation, normalisation
from hadnas.blocks.registry import block
from hadnas.blocks.rules import odd


@block(family="convolution", rules=(odd("kernel"),))
class Basic(nn.Module):
    """Two dense convolutions with norms, an activation between them.

    y = norm(conv2(act(norm(conv1(x)))))

    conv1, conv2 k x k, C -> C, without bias. With `act` None the block is linear, the first-order branch of a
    Pi-residual without activations.

    Shapes: (B, C, H, W) -> (B, C, H, W).
    Degree: 1
    Params: 2*kernel**2*C**2 + 2*weights(norm, C) + weights(act, C)
    MACs: 2*kernel**2*C**2*N
    Products: products(act, C*N)
    Source: He et al., "Deep residual learning for image recognition", 2015, arXiv 1512.03385, figure 5 left; the
        residual and the activation after it are outside.
    timm: timm.models.resnet.BasicBlock
    """

    def __init__(
        self,
        dim: int,
        *,
        kernel: int = 3,
        act: Act | None = "relu",
        norm: Norm | None = "batchnorm2d",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dd = {"device": device, "dtype": dtype}
        self.conv1 = nn.Conv2d(dim, dim, kernel, padding=kernel // 2, bias=False, **dd)
        self.norm1 = normalisation(norm, dim, **dd)
        self.act = activation(act, **dd)
        self.conv2 = nn.Conv2d(dim, dim, kernel, padding=kernel // 2, bias=False, **dd)
        self.norm2 = normalisation(norm, dim, **dd)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm2(self.conv2(self.act(self.norm1(self.conv1(x)))))
