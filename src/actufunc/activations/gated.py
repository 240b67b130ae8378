"""Gated units: an axis is split in halves, and the first is multiplied by the activation of the second."""

from __future__ import annotations

from actufunc._decorator import activation
from actufunc.formula import Expression, damped, halves, logistic

from .rectifiers import relu
from .smooth import gelu, silu

__all__ = ["geglu", "glu", "reglu", "swiglu"]


@activation
def glu(x: Expression) -> Expression:
    r"""Gated linear unit.

    .. math:: \operatorname{glu}(x) = a\,\sigma(b)

    See Also
    --------
    sigmoid, swiglu

    Notes
    -----
    :Special values: a gate of -inf closes whatever the value, so that infinity gives a zero

    References
    ----------
    Y. N. Dauphin, A. Fan, M. Auli, D. Grangier, "Language modeling with gated convolutional networks", ICML 2017.
    arXiv:1612.08083.

    Examples
    --------
    >>> glu(np.array([1.0, 2.0, 0.0, 100.0]))
    array([0.5, 2. ])
    """
    value, gate = halves(x)
    return damped(value, logistic(gate))


@activation
def reglu(x: Expression) -> Expression:
    r"""Gated unit with a rectifier.

    .. math:: \operatorname{reglu}(x) = a\,\max(b, 0)

    See Also
    --------
    glu, relu

    Notes
    -----
    :Special values: those of the product; an infinite value is NaN behind a closed gate

    References
    ----------
    N. Shazeer, "GLU variants improve Transformer", 2020. arXiv:2002.05202.

    Examples
    --------
    >>> reglu(np.array([1.0, 2.0, -1.0, 3.0]))
    array([0., 6.])
    """
    value, gate = halves(x)
    product: Expression = value * relu(gate)
    return product


@activation
def geglu(x: Expression) -> Expression:
    r"""Gated unit with gelu.

    .. math:: \operatorname{geglu}(x) = a\,b\,\Phi(b)

    See Also
    --------
    gelu, glu

    Notes
    -----
    :Special values: those of the product; an infinite value is NaN behind a gate of -inf

    References
    ----------
    N. Shazeer, "GLU variants improve Transformer", 2020. arXiv:2002.05202.

    Examples
    --------
    >>> geglu(np.array([1.0, 2.0, -1.0, 3.0]))
    array([-0.15865525,  5.99190061])
    """
    value, gate = halves(x)
    product: Expression = value * gelu(gate)
    return product


@activation
def swiglu(x: Expression) -> Expression:
    r"""Gated unit with silu.

    .. math:: \operatorname{swiglu}(x) = a\,b\,\sigma(b)

    See Also
    --------
    glu, silu

    Notes
    -----
    :Special values: those of the product; an infinite value is NaN behind a gate of -inf

    References
    ----------
    N. Shazeer, "GLU variants improve Transformer", 2020. arXiv:2002.05202.

    Examples
    --------
    >>> swiglu(np.array([1.0, 2.0, -1.0, 3.0]))
    array([-0.26894142,  5.71544476])
    """
    value, gate = halves(x)
    product: Expression = value * silu(gate)
    return product
