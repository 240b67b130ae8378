"""``actufunc apply``: a function over files of any size."""
