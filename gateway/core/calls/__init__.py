"""The steps of a call, from what was asked to an answer that fits."""
