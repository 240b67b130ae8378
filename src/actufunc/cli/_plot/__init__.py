"""``actufunc plot``: pictures of functions."""
