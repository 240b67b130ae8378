"""From expressions to CUDA C."""
