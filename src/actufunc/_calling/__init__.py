"""Calls before a backend computes them: binding of arguments, kinds of arrays, plans of earlier calls."""
