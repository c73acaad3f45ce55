"""SQLite: its store, its views, and all that only they need."""
