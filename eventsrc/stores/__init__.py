"""The stores: interpreters of the store operations."""
