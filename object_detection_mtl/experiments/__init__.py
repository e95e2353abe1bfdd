"""Paired experiments: trainings with and without auxiliary tasks, and their comparison."""
