"""How accounts are connected, and how calls get their credentials."""
