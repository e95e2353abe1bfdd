"""Multi-task self-supervised training: labels made from boxes, auxiliary heads, refinement."""
