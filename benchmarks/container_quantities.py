"""Rows of the table of containers: quantities with units and with uncertainties."""

from __future__ import annotations

from typing import Any

import numpy as np
from container_trials import Container, row


@row("pint, dimensionless", "pint")
def _(pint: Any) -> Container:
    units = pint.get_application_registry()
    return Container(
        lambda values: units.Quantity(values.copy(), "dimensionless"), lambda found: found.m_as("dimensionless")
    )


@row("pint, percent", "pint")
def _(pint: Any) -> Container:
    """Numbers that are a hundred times their value."""
    units = pint.get_application_registry()
    return Container(lambda values: units.Quantity(values * 100, "percent"), lambda found: found.m_as("dimensionless"))


@row("pint, metre", "pint")
def _(pint: Any) -> Container:
    units = pint.get_application_registry()
    return Container(lambda values: units.Quantity(values.copy(), "metre"), lambda found: found.m, has_meaning=False)


@row("astropy, dimensionless", "astropy.units")
def _(units: Any) -> Container:
    return Container(lambda values: values * units.one, lambda found: found.to_value(units.one))


@row("astropy, percent", "astropy.units")
def _(units: Any) -> Container:
    """Numbers that are a hundred times their value."""
    return Container(lambda values: values * 100 * units.percent, lambda found: found.to_value(units.one))


@row("astropy, metre", "astropy.units")
def _(units: Any) -> Container:
    return Container(lambda values: values * units.m, lambda found: found.value, has_meaning=False)


@row("astropy Column", "astropy.table")
def _(table: Any) -> Container:
    return Container(lambda values: table.Column(values, "x"), shape=(4,))


@row("unyt, dimensionless", "unyt")
def _(unyt: Any) -> Container:
    return Container(lambda values: unyt.unyt_array(values, "dimensionless"))


@row("unyt, metre", "unyt")
def _(unyt: Any) -> Container:
    return Container(lambda values: unyt.unyt_array(values, "m"), has_meaning=False)


@row("quantities, dimensionless", "quantities")
def _(pq: Any) -> Container:
    return Container(lambda values: values * pq.dimensionless, lambda found: np.asarray(found.magnitude))


@row("quantities, metre", "quantities")
def _(pq: Any) -> Container:
    return Container(lambda values: values * pq.m, lambda found: np.asarray(found.magnitude), has_meaning=False)


@row("uncertainties", "uncertainties.unumpy")
def _(unumpy: Any) -> Container:
    return Container(lambda values: unumpy.uarray(values, 0.1), unumpy.nominal_values)
