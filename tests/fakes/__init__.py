"""Real loopback servers that stand in for the upstreams of the shipped integrations."""
