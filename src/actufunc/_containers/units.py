"""Quantities of pint and astropy: dimensionless ones give dimensionless results, others the error of the library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from actufunc._calling.call import Call


def on_magnitudes(call: Call) -> Any:
    """Compute a call on the magnitudes of pint's quantities: pint supports ufuncs by a list of NumPy's names only.

    The result is a dimensionless quantity. A quantity with a dimension raises `pint.DimensionalityError`.
    """
    inputs, keywords = call.as_arguments()
    registry = next(each for each in call.values() if hasattr(each, "_REGISTRY"))._REGISTRY  # noqa: SLF001

    def number(value: Any) -> Any:
        return value.m_as("") if hasattr(type(value), "m_as") else value

    if isinstance(call.out, registry.Quantity):
        raise TypeError(f"{call.definition.name} cannot write to a Quantity; give out= an array, or its magnitude")
    result = call.function(*map(number, inputs), **{key: number(value) for key, value in keywords.items()})
    return result if call.out is not None and call.out is not Ellipsis else registry.Quantity(result, "")


def register(function: Any) -> None:
    """Register a function with astropy, beside its own ufuncs, as one of dimensionless numbers."""
    from astropy.units.quantity_helper import helpers  # noqa: PLC0415

    helpers.UFUNC_HELPERS.setdefault(function, _all_dimensionless)


def _all_dimensionless(function: Any, *units: Any) -> tuple[list[Any], Any]:
    """Return the converters of all inputs and the unit of the result."""
    from astropy.units.quantity_helper.helpers import helper_dimensionless_to_dimensionless  # noqa: PLC0415

    converters, results = zip(*(helper_dimensionless_to_dimensionless(function, unit) for unit in units), strict=True)
    return [each for (each,) in converters], results[0]
