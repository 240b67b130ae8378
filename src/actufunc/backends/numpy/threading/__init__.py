"""Threads for calls on large arrays: `schedule` chooses between the calling thread, `tbb` and the `pool`."""
