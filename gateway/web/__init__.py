"""What all HTTP surfaces share: who asks, how bodies are read, how errors look, how long anything may take."""
