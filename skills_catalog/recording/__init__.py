"""Examples made of what an API really answered."""
