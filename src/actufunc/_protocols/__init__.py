"""What an activation has beside its call: ufunc methods, pickling, a description, what frameworks ask for."""
