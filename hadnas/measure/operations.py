"""The cost of one ATen operation: the rules behind `hadnas.measure.cost`.

Conventions, for an operation that writes `n` elements (a batch of one, evaluation mode):

    convolution, linear, matrix product   MACs: n times the length of the contraction; a fused bias is free
    uncontracted product (length 1)       not MACs: n products if both factors are activations, else n element-wise;
                                          a convolution or linear layer with one weight per output is n MACs
    deformable convolution                MACs as a convolution, and 4 for every sampled value (1 more with a mask)
    attention, fused or not               MACs of q k^T and of the product with v (fused, of one key, too); the scaling
                                          of q, and per score a softmax and, with a mask, a sum
    distances of rows (cdist)             MACs as a matrix product, a difference for each MAC, and n roots
    sum, difference, quotient, activation function (also one with a product inside: silu, gelu, hardswish)      n
    product of two activations            n, all of them products; x^k is k - 1 of them for a whole k > 1
    product with a parameter, a buffer, a constant or a 0-dimensional tensor                        n, no products
    glu, addcmul, lerp, xlogy, ldexp      as written out: 2 n (lerp 3 n), with n products each
    hypot, polar                          as written out: 4 n, with 2 n products each
    product of complex numbers            as written out: 4 products and 2 sums for each, 2 products if one is real
    softmax                               5 n (maximum, difference, exponential, sum, quotient)
    batch normalisation                   2 n (in evaluation: one scale and one shift)
    layer, group, instance normalisation  5 n (mean, difference, square, mean, scale), and 1 n each for weight and bias
    root mean square normalisation        3 n, and 1 n for the weight
    pooling                               n times the window;  interpolation: n times the number of points it uses
    Fourier transform                     5 n log2(length), half of it for a real one
    moving data (views, copies, concatenation, padding, indexing, casts)                                         0
    other functions of each element, reductions, scans and sorts    the elements of the largest tensor read or written

The executed operations are counted: exp(log a + log b) is four operations, none of them a product. An operation that
is not in this list is refused (`hadnas.measure.aten`).
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from torch import Tensor


class Work(NamedTuple):
    """Arithmetic of one operation; `elementwise` contains `products`."""

    macs: int = 0
    elementwise: int = 0
    products: int = 0


IsActivation = Callable[[Any], bool]
CostRule = Callable[[Sequence[Any], dict[str, Any], Any, IsActivation], Work]
NOTHING = Work()


def _each(left: Any, right: Any) -> tuple[int, int]:
    """The numbers of real multiplications and sums in one product, which may be of complex numbers."""
    parts = sum(v.is_complex() if isinstance(v, Tensor) else isinstance(v, complex) for v in (left, right))
    return ((1, 0), (2, 0), (4, 2))[parts]


def _products(written: int, left: Any, right: Any, activation: IsActivation, added: int = 0) -> Work:
    times, sums = _each(left, right)
    of_two = activation(left) and activation(right)
    return Work(elementwise=written * (times + sums) + added, products=written * times if of_two else 0)


def _contraction(written: int, length: int, left: Any, right: Any, activation: IsActivation, added: int = 0) -> Work:
    if length > 1:
        return Work(macs=written * length * _each(left, right)[0], elementwise=added)
    return _products(written, left, right, activation, added)


def _weighted(written: int, length: int, data: Any, weight: Any, activation: IsActivation) -> Work:
    """A contraction with a layer's weight: one weight per output is a MAC, too, unless it is an activation."""
    if activation(weight):
        return _contraction(written, length, data, weight, activation)
    return Work(macs=written * length * _each(data, weight)[0])


def convolution(args: Sequence[Any], kwargs: dict[str, Any], out: Tensor, activation: IsActivation) -> Work:
    image, weight = args[:2]
    return _weighted(out.numel(), math.prod(weight.shape[1:]), image, weight, activation)


def transposed(args: Sequence[Any], kwargs: dict[str, Any], out: Tensor, activation: IsActivation) -> Work:
    image, weight = args[:2]
    groups = args[6] if len(args) > 6 else 1
    return _scattered(image, weight, args[3] if len(args) > 3 else 1, groups, activation)


def _scattered(image: Tensor, weight: Tensor, stride: Any, groups: int, activation: IsActivation) -> Work:
    kernel = weight.shape[2:]
    strides = [stride] * len(kernel) if isinstance(stride, int) else [*stride] * (len(kernel) // len(stride))
    overlap = math.prod(-(-side // step) for side, step in zip(kernel, strides, strict=True))
    if weight.shape[0] // groups * overlap > 1 or not activation(weight):
        return Work(macs=image.numel() * math.prod(weight.shape[1:]) * _each(image, weight)[0])
    return _products(image.numel() * math.prod(weight.shape[1:]), image, weight, activation)


def any_convolution(args: Sequence[Any], kwargs: dict[str, Any], out: Tensor, activation: IsActivation) -> Work:
    if args[6]:
        return _scattered(args[0], args[1], args[3], args[8], activation)
    return convolution(args, kwargs, out, activation)


def deformable(args: Sequence[Any], kwargs: dict[str, Any], out: Tensor, activation: IsActivation) -> Work:
    image, weight = args[:2]
    masked = args[13]  # without a mask, its argument is an empty tensor
    sampled = image.shape[1] * math.prod(weight.shape[2:]) * out.numel() // out.shape[1]
    return Work(macs=out.numel() * math.prod(weight.shape[1:]), elementwise=(4 + masked) * sampled)


def linear(args: Sequence[Any], kwargs: dict[str, Any], out: Tensor, activation: IsActivation) -> Work:
    return _weighted(out.numel(), int(args[0].shape[-1]), args[0], args[1], activation)


def matrix(args: Sequence[Any], kwargs: dict[str, Any], out: Tensor, activation: IsActivation) -> Work:
    return _contraction(out.numel(), int(args[0].shape[-1]), args[0], args[1], activation)


def added_matrix(args: Sequence[Any], kwargs: dict[str, Any], out: Tensor, activation: IsActivation) -> Work:
    added = _added(args[0], out, activation)
    return _contraction(out.numel(), int(args[1].shape[-1]), args[1], args[2], activation, added)


def added_batch(args: Sequence[Any], kwargs: dict[str, Any], out: Tensor, activation: IsActivation) -> Work:
    length = int(args[1].shape[0] * args[1].shape[2])
    return _contraction(out.numel(), length, args[1], args[2], activation, _added(args[0], out, activation))


def _added(first: Tensor, out: Tensor, activation: IsActivation) -> int:
    """The cost of the sum with the first argument: a bias is free, an activation or a mask is not."""
    bias = not activation(first) and (out.dim() < 2 or first.dim() < 2 or first.shape[-2] == 1)
    return 0 if bias else out.numel()


def vector(args: Sequence[Any], kwargs: dict[str, Any], out: Tensor, activation: IsActivation) -> Work:
    return _contraction(out.numel(), int(args[0].shape[kwargs.get("dim", -1)]), args[0], args[1], activation)


def bilinear(args: Sequence[Any], kwargs: dict[str, Any], out: Tensor, activation: IsActivation) -> Work:
    left, right = int(args[0].shape[-1]), int(args[1].shape[-1])
    joined = _contraction(out.numel(), right, args[0], args[1], activation)
    return joined._replace(macs=joined.macs + out.numel() * left * right)


def distances(args: Sequence[Any], kwargs: dict[str, Any], out: Tensor, activation: IsActivation) -> Work:
    n = out.numel() * int(args[0].shape[-1])
    return Work(macs=n, elementwise=n + out.numel())


def affine_grid(args: Sequence[Any], kwargs: dict[str, Any], out: Tensor, activation: IsActivation) -> Work:
    return Work(macs=out.numel() * int(args[0].shape[-1]))


def attention(args: Sequence[Any], kwargs: dict[str, Any], out: Any, activation: IsActivation) -> Work:
    query, key, value = args[:3]
    written = out[0] if isinstance(out, (tuple, list)) else out  # the query may have been broadcast
    scores = math.prod(written.shape[:-1]) * int(key.shape[-2])
    mask = kwargs.get("attn_mask", args[3] if len(args) > 3 else None)
    causal = kwargs.get("is_causal", args[5] if len(args) > 5 else False)
    masked = isinstance(mask, Tensor) or causal is True
    alike = _contraction(scores, int(query.shape[-1]), query, key, activation, query.numel() + scores * (5 + masked))
    return alike._replace(macs=alike.macs + scores * int(value.shape[-1]))


def product(args: Sequence[Any], kwargs: dict[str, Any], out: Tensor, activation: IsActivation) -> Work:
    return _products(out.numel(), args[0], args[1], activation)


def addcmul(args: Sequence[Any], kwargs: dict[str, Any], out: Tensor, activation: IsActivation) -> Work:
    return _products(out.numel(), args[1], args[2], activation, out.numel())


def lerp(args: Sequence[Any], kwargs: dict[str, Any], out: Tensor, activation: IsActivation) -> Work:
    n = out.numel()
    ends = activation(args[0]) or activation(args[1])
    return Work(elementwise=3 * n, products=n if ends and activation(args[2]) else 0)


def glu(args: Sequence[Any], kwargs: dict[str, Any], out: Tensor, activation: IsActivation) -> Work:
    n = out.numel()
    return Work(elementwise=2 * n, products=n if activation(args[0]) else 0)


def written_out(functions: int, times: int) -> CostRule:
    """A function of two arguments: `functions` operations for each element, `times` of them products of both."""

    def rule(args: Sequence[Any], kwargs: dict[str, Any], out: Tensor, activation: IsActivation) -> Work:
        n = out.numel()
        of_two = activation(args[0]) and activation(args[1])
        return Work(elementwise=functions * n, products=times * n if of_two else 0)

    return rule


def power(args: Sequence[Any], kwargs: dict[str, Any], out: Tensor, activation: IsActivation) -> Work:
    exponent = args[1]
    if isinstance(exponent, (int, float)) and exponent >= 2 and exponent == int(exponent):
        return _products(out.numel() * (int(exponent) - 1), args[0], args[0], activation)
    return Work(elementwise=out.numel())


def product_along(args: Sequence[Any], kwargs: dict[str, Any], out: Tensor, activation: IsActivation) -> Work:
    return _products(args[0].numel() - out.numel(), args[0], args[0], activation)


def cumulative_product(args: Sequence[Any], kwargs: dict[str, Any], out: Tensor, activation: IsActivation) -> Work:
    n = out.numel() - out.numel() // max(1, int(out.shape[args[1]])) if out.dim() else 0
    return _products(n, args[0], args[0], activation)


def cross(args: Sequence[Any], kwargs: dict[str, Any], out: Tensor, activation: IsActivation) -> Work:
    return _products(2 * out.numel(), args[0], args[1], activation, out.numel())


def per_element(times: int) -> CostRule:
    def rule(args: Sequence[Any], kwargs: dict[str, Any], out: Any, activation: IsActivation) -> Work:
        written = out[0] if isinstance(out, (tuple, list)) else out
        return Work(elementwise=times * written.numel())

    return rule


def affine_norm(times: int, first: int) -> CostRule:
    """A normalisation; its arguments from `first` on are the weight and, if it has one, the bias."""

    def rule(args: Sequence[Any], kwargs: dict[str, Any], out: Any, activation: IsActivation) -> Work:
        written = out[0] if isinstance(out, (tuple, list)) else out
        affine = sum(isinstance(a, Tensor) for a in args[first : first + 2])
        return Work(elementwise=(times + affine) * written.numel())

    return rule


def pooling(args: Sequence[Any], kwargs: dict[str, Any], out: Any, activation: IsActivation) -> Work:
    written = out[0] if isinstance(out, (tuple, list)) else out
    sides = written.dim() - 2 if written.dim() > 2 else written.dim() - 1
    kernel = args[1]
    window = math.prod(kernel) if len(kernel) > 1 else int(kernel[0]) ** sides
    return Work(elementwise=written.numel() * int(window))


def fourier(args: Sequence[Any], kwargs: dict[str, Any], out: Tensor, activation: IsActivation) -> Work:
    real = not args[0].is_complex() or not out.is_complex()
    grid = args[0] if not args[0].is_complex() else out
    length = math.prod(int(grid.shape[d]) for d in args[1])
    return Work(elementwise=int((2.5 if real else 5) * grid.numel() * math.log2(max(2, length))))


def moved(args: Sequence[Any], kwargs: dict[str, Any], out: Any, activation: IsActivation) -> Work:
    """The rule of operations that move data and compute nothing."""
    return NOTHING


def filled(args: Sequence[Any], kwargs: dict[str, Any], out: Any, activation: IsActivation) -> Work:
    """The rule of operations that read only the shape of a tensor: free, like `zeros`, and not an activation."""
    return NOTHING


def composed(args: Sequence[Any], kwargs: dict[str, Any], out: Any, activation: IsActivation) -> Work:
    """The rule of operations that torch composes of others, which are counted one by one."""
    return NOTHING


def largest(args: Sequence[Any], kwargs: dict[str, Any], out: Any, activation: IsActivation) -> Work:
    """The rule of element-wise functions, reductions and scans: the elements of the largest tensor."""
    return Work(elementwise=max((t.numel() for t in (*tensors(args), *tensors((out,)))), default=0))


def tensors(values: Any) -> list[Tensor]:
    """The tensors among arguments or results, and in lists of them."""
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, (list, tuple)):
            found.extend(v for v in value if isinstance(v, Tensor))
    return found
