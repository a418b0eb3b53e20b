"""Tables of one's own in the place of a scenario: read, compared, and models kept for use."""
