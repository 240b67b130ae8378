"""A call before a backend serves it: its arguments, whose arrays they are, and plans that earlier calls have left."""
