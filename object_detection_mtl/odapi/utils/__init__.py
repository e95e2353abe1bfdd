"""Names of the OD API's `object_detection.utils`."""

from object_detection_mtl.odapi import missing_names

__getattr__ = missing_names.package_getattr(__name__)
