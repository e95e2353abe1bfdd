"""Multi-task self-supervised object detection on TensorFlow 2.

Importing the package does not import TensorFlow; each command imports its modules after its flags
are parsed.
"""

__version__ = "0.1.0"
