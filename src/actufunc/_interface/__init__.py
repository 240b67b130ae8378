"""Interfaces of an activation beside its call: ufunc methods, pickling, description, configs, torch.compile."""
