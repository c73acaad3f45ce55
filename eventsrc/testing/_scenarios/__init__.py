"""Every schedule and fault of programs that run at the same time."""
