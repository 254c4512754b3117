"""How people come in, and how they let devices in."""
