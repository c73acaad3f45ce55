"""Facts, and how they are stored exactly."""
