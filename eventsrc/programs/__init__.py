"""Services as values, and what runs them."""
