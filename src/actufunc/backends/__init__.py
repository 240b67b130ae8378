"""One backend per kind of array."""
