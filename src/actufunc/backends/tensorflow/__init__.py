"""TensorFlow: its own functions where they mean the same, else formulas in its operations; shapes may be open."""
