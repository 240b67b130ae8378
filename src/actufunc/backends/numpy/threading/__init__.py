"""Which threads compute a call on large arrays."""
