"""Activations as layers of neural networks, a module for each framework: `actufunc.layers.torch` and the like."""
