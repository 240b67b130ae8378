"""``actufunc verify``: the errors of values and gradients over all inputs."""
