"""The only way out: connections to upstreams and OAuth servers, and which addresses they may reach."""
