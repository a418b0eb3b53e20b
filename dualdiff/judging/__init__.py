"""The judge: problems whose truth is known, all built-in rules and methods, and a newcomer."""
