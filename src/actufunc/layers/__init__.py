"""Activations as layers of neural networks: `actufunc.layers.torch` and `actufunc.layers.keras`."""
