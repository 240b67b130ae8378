"""From Python text to compiled kernels, with machine code that is kept on disk."""
