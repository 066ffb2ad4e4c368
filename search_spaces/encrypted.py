"""Networks for encrypted inference: sums and products only, every norm a batch norm that folds away.

Homomorphic encryption computes sums and products. At inference a batch norm is an affine map and folds into the
convolution beside it, so every member is a polynomial of its input. That excludes, beyond all activations, every norm
that looks at its input when it runs (layer norm, group norm, RMS norm), softmax, and divisions by sums over tokens.
The depth of products is what encryption pays for: star, CCP and GLU cost one level (CCP of degree d: d - 1).
"""

from hadnas.space import int_range, one_of, op, repeat

BLOCK = one_of(
    op("star", expand=one_of(2, 4), kernel=one_of(3, 5), act_on="none", interact="mul", norm="batchnorm2d"),
    op("ccp", degree=one_of(2, 3), kernel=3),
    op("glu", expand=one_of(1.0, 2.0), act=None),
    op("lka", kernel=3, dilated_kernel=5, dilation=2, act=None),
)

RESIDUAL = op("residual", norm="batchnorm2d", block=BLOCK, merge=one_of(op("add"), op("product", norm="batchnorm2d")))

DOWN = op("conv_norm", kernel=3, stride=2, norm="batchnorm2d", act=None)

SPACE = op(
    "pyramid",
    stem=op("conv_norm", dim=one_of(16, 32), kernel=3, stride=1, norm="batchnorm2d", act=None),
    stages=[
        {"dim": one_of(32, 48), "down": DOWN, "blocks": repeat(RESIDUAL, int_range(1, 2))},
        {"dim": one_of(48, 64), "down": DOWN, "blocks": repeat(RESIDUAL, int_range(1, 2))},
    ],
    norm="batchnorm2d",
    head=op("pooled_linear"),
)
