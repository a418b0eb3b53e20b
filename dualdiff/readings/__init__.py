"""Analyses of finished tables: what they show beyond their rows. They write no words."""
