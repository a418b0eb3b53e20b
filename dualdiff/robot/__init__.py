"""A simulated robot in the plane: its world, its tasks, the rows of data, and the study of them."""
