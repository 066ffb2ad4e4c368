"""Networks for encrypted inference: only sums and products; every norm is a batch norm that folds into a convolution.

Homomorphic encryption computes sums and products. At inference a batch norm is an affine map. Here each one directly
follows a convolution or precedes only pointwise ones (before a depthwise one, its shift would not apply to the zero
padding), so that it folds into their weights and every member is a polynomial of its input. Excluded are activations,
norms with statistics of their input (layer norm, group norm, RMS norm), softmax, divisions by sums over tokens, and a
norm on an unprojected product. The cost of encryption grows with the depth of products: star, GLU, LKA and conv-mod
have one level, CCP of degree d has d - 1, gnConv of order n has n, and the product merge one more than its block.
"""

from hadnas.space import int_range, one_of, op, repeat

STAR = op("star", expand=one_of(2, 4), kernel=one_of(3, 5), act_on="none", interact="mul", norm="batchnorm2d")

POINTWISE_FIRST = (
    op("ccp", degree=one_of(2, 3)),
    op("glu", expand=one_of(1.0, 2.0), act=None),
    op("lka", kernel=3, dilated_kernel=5, dilation=2, act=None),
    op("conv_mod", kernel=one_of(5, 7), act=None),
    op("gn_conv", order=one_of(2, 3), kernel=one_of(3, 5)),
)

MERGE = one_of(op("add"), op("product", project=True, norm="batchnorm2d"))

RESIDUAL = one_of(
    op("residual", block=STAR, merge=MERGE),  # a star has its own norms, each directly after a convolution
    *(op("residual", norm="batchnorm2d", block=block, merge=MERGE) for block in POINTWISE_FIRST),
)

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
