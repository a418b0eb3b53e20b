"""Pictures small enough to own: digits, what reads them, and the studies on them."""
