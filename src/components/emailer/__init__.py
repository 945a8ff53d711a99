"""A letter becomes a message that is delivered, or kept until it can be."""
