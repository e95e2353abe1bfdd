"""Multi-task self-supervised object detection on TensorFlow 2.

Importing the package loads no TensorFlow; each command line imports what it needs after its flags
are parsed.
"""

__version__ = "0.1.0"
