"""For every action of the shipped integrations: a call, and what it must be at the upstream and for the caller."""
