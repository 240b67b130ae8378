"""Branch-free mathematics for float32 and float64, emitted as LLVM instructions."""
